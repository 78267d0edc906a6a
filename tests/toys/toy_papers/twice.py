"""A chain of one network twice, the second trained on what the first gives."""

from restore_tf.experiments.chain_recipe import ChainRecipe, Link

_LINK = Link("onlyluma", "tiny", "pairs", ("batch=2", "crop=32"))
CHAIN = ChainRecipe("pairs of two folders", "folder", (_LINK, _LINK, "unsharp:1:0.5:0"))
