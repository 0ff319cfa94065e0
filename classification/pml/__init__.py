"""pytorch-metric-learning (PML): its parts from YAML files, our losses in its terms. `losses` imports it, `parts` does so
when something of it is asked for."""
