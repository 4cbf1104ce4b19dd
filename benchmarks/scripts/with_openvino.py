"""The digits through OpenVINO in float32: python with_openvino.py FOLDER_OF_MODEL FOLDER_OF_DATA, writes y.npy."""

import sys

import numpy as np
import openvino

model = openvino.Core().compile_model(f"{sys.argv[1]}/model.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
np.save("y.npy", model(np.load(f"{sys.argv[2]}/x.npy"))[0])
