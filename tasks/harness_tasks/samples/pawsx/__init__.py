"""Data only: sample files of PAWS-X in XTREME's layout, test labelled too."""
