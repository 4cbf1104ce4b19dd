"""The digits through Keras: python with_keras.py FOLDER_OF_MODEL FOLDER_OF_DATA, writes y.npy."""

import sys

import keras
import numpy as np

model = keras.models.load_model(f"{sys.argv[1]}/model.keras", compile=False)
np.save("y.npy", model.predict(np.load(f"{sys.argv[2]}/x.npy"), verbose=0))
