# Training and export; PyPI's torch uses a GPU where `docker run --gpus all` gives one.
#   docker build -f docker/training.Dockerfile -t rd-plugin-training .
#   docker run --rm --shm-size 2g -v "$PWD:/work" rd-plugin-training train --config folder --data.root my_parts
FROM python:3.11-slim
COPY . /tmp/rd-plugin
RUN pip install --no-cache-dir "/tmp/rd-plugin[demo,onnx,openvino]" && rm -r /tmp/rd-plugin
RUN useradd --create-home --uid 1000 trainer
USER 1000
WORKDIR /work
ENTRYPOINT ["rd-plugin"]
