"""Jobs of a sweep: one per group of runs, in this process, on every GPU, or wherever a launcher of Hydra takes them."""
