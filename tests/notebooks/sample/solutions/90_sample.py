# ---
# jupyter:
#   jupytext:
#     text_representation: {extension: .py, format_name: percent}
# ---

# %% [markdown] name="question"
# # A sample
#
# How little does a chapter need? It has $x^2$, a picture, and two exercises.

# %% name="setup"
import base64
import io
import random
import time

import matplotlib.pyplot as plt
from IPython.display import display
from roofline.grading import check
from tqdm import tqdm

# %% name="deterministic" tags=["nbval-check-output"]
print("7 cells and 3.50 points")

# %% name="measured" tolerance=0.5
for _ in tqdm(range(3)):
    time.sleep(0.01)
print(f"took {2 + random.random() / 10:.3f} s")

# %% name="picture"
figure, axis = plt.subplots(figsize=(3, 2), dpi=50)
axis.plot([1, 2, 3], [1, 4, 9])
plt.show()

# %% name="experiment"
buffer = io.BytesIO()
figure.savefig(buffer, format="png")
display(
    {
        "application/vnd.jupyter.widget-view+json": {"model_id": f"{random.random()}"},
        "image/png": base64.b64encode(buffer.getvalue()).decode(),
        "text/plain": "batch 64: the tape keeps 3 MB",
    },
    raw=True,
)

# %% [markdown] exercise="sample.double"
# ### Twice
#
# Return twice `x`.


# %% solution="sample.double"
def double(x):
    """Return 2 x, of x's shape."""
    ### BEGIN SOLUTION
    secret_of_doubling = x + x
    return secret_of_doubling
    ### END SOLUTION


# %% check="sample.double"
check("sample.double", double)

# %% [markdown] exercise="sample.square"
# ### Squared
#
# Return $x^2$.


# %% solution="sample.square"
def square(x):
    """Return x squared, of x's shape."""
    ### BEGIN SOLUTION
    return x**2
    ### END SOLUTION


# %% check="sample.square"
check("sample.square", square)

# %% [markdown] name="summary"
# Little.
