"""FastAPI as its tutorial has file uploads: `def`, so that it runs in the thread pool."""

from fastapi import FastAPI, UploadFile
from model import Model

app = FastAPI()
model = Model()


@app.post("/predict")
def predict(image: UploadFile) -> dict[str, float]:
    return {"grams": model.grams(image.file.read())}
