__version__ = "0.1.0"
DISTRIBUTION = "crosslingual-transfer-harness"
