"""Make a training run, with all files that darknet needs, from a folder of labelled pictures.

plan       the network, its input size, the number of iterations; remarks on the data set before the training
run_files  the folder of the run: lists, labels, names, .data, cfg, a description to resume from; the pace
"""
