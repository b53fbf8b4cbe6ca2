"""The store: activations of a corpus in HDF5 shards, with a manifest that vouches for them."""
