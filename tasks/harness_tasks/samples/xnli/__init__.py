"""Data only: sample files of XNLI in XTREME's layout, premise and hypothesis, labels of test apart."""
