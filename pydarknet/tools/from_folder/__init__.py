"""Make a training run, with all files that darknet needs, from a folder of labelled pictures."""
