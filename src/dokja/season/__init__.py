"""The programme: teams, budget, stages, elimination; composes the other rooms."""
