"""Questions and answers about a face crop, real or simulated forgery, for instruction tuning."""
