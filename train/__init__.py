"""Training: from token shards to checkpoints, logs and an exported model.

In:  token shards in $DATA/tokens and a run file of configs/runs. Out: a run's folder with its configuration,
logs and checkpoints. Read `pretrain.py` first: it is the training script, from arguments to the loop.

`config.py` resolves a run; `data/` reads batches; `model/` holds the network and its loss; `parallel/` trains
it on several processes; `checkpoint/` saves and resumes. `validation.py`, `guard.py` and `log.py` serve the
loop, `instruments/` measures beside it, and `restart/` watches it and decides what follows its end.
`planning/` says what a run needs, `node_check/` whether nodes are fit, `chain.py` which jobs are missing.
`study.py` trains many runs; `evaluate.py`, `generate.py`, `export_hf.py` and `replay.py` use one.

Names of batches, activations and losses end in their shape, one letter a dimension:

    B  sequences in a micro-batch        T  positions in a sequence
    N  B x T tokens                      C  tokens of one chunk of the N
    D  hidden size (the model's width)   V  vocabulary size
    W  windows of a validation set       R  rows of a validation set (a document's part of a window)
    K  documents of a validation set     1  a dimension of length one

So `hidden_BTD` has shape (B, T, D) and `losses_B` has shape (B,). Scalars have no suffix, nor have weights,
gradients and moments that code treats alike whatever their shape. Arrays of the data order (samples, windows,
positions) are one-dimensional and have none either. Losses are in nats, lengths in tokens.
"""
