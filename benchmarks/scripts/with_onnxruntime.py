"""The digits through onnxruntime: python with_onnxruntime.py FOLDER_OF_MODEL FOLDER_OF_DATA, writes y.npy."""

import sys

import numpy as np
import onnxruntime

session = onnxruntime.InferenceSession(f"{sys.argv[1]}/model.onnx", providers=["CPUExecutionProvider"])
np.save("y.npy", session.run(None, {"x": np.load(f"{sys.argv[2]}/x.npy")})[0])
