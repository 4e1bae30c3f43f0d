"""Many runs: plan, preflight, groups, launch, run and processes, in the order in which they are used."""
