"""The digits through torch: python with_torch.py FOLDER_OF_MODEL FOLDER_OF_DATA, writes y.npy."""

import sys

import numpy as np
import torch

saved = torch.load(f"{sys.argv[1]}/model.pt")
lstm, linear = torch.nn.LSTM(8, 32, batch_first=True), torch.nn.Linear(32, 10)
lstm.load_state_dict(saved["lstm"])
linear.load_state_dict(saved["linear"])
with torch.inference_mode():
    x = torch.from_numpy(np.load(f"{sys.argv[2]}/x.npy"))
    np.save("y.npy", torch.softmax(linear(lstm(x)[0][:, -1]), 1).numpy())
