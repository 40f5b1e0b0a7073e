"""`make mutants`: small changes to what decides, one at a time, each of which some quick test must notice."""
