"""Data only: sample files of TyDiQA-GoldP."""
