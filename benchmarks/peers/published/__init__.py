"""Networks that others published with their weights, beside ours; weights and images are the user's."""
