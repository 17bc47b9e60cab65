"""Data only: sample files of BUCC 2018 mining, two unaligned sides and the gold pairs."""
