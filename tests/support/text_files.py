"""A text of a few words and small recurrent networks that learn it in no time."""

import textwrap

import numpy as np

LAYERS = {
    "rnn": "[rnn]\noutput=24\nhidden=24\nactivation=tanh\n",
    "gru": "[gru]\noutput=24\n",
    "lstm": "[lstm]\noutput=24\n",
    "crnn": "[crnn]\noutput=24\nhidden=24\noutput_filters=24\nhidden_filters=24\nsize=1\nactivation=tanh\n",
}
NET = """
    [net]
    batch={batch}
    subdivisions={subdivisions}
    time_steps={steps}
    inputs={inputs}
    momentum=0.9
    decay=0
    learning_rate={rate}
    policy=constant
    max_batches={max_batches}
"""
WORDS = ["red ", "green ", "blue ", "black "]


def cfg(kind="lstm", batch=8, subdivisions=1, steps=6, inputs=128, rate=1.0, max_batches=12):
    """A network that predicts bytes below `inputs`."""
    head = NET.format(
        batch=batch, subdivisions=subdivisions, steps=steps, inputs=inputs, rate=rate, max_batches=max_batches
    )
    return f"{textwrap.dedent(head)}\n{LAYERS[kind]}\n[connected]\noutput={inputs}\nactivation=linear\n\n[softmax]\n"


def words(count, seed=1):
    """`count` random words, as bytes."""
    return "".join(np.random.default_rng(seed).choice(WORDS, count)).encode()
