"""What `recipes/app.py` shows: plain functions of both domains, the processes that run them, and the page over them."""
