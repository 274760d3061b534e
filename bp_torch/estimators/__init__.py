"""The estimators of `bp_torch.sklearn`, file by file."""
