"""From a folder of labelled pictures to a training run with everything that darknet needs.

plan       the network, its input size, the number of iterations
run_files  the folder of the run: lists, labels, names, .data, cfg, a description to resume from
advice     what the data set's figures say about the training
"""
