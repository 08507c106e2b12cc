"""Measurements, side by side in one run on one machine; they print ratios, and no test waits for them."""
