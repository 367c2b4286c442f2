# A station: inspects with exports, without torch and anomalib.
#   docker build -f docker/station.Dockerfile -t rd-plugin-station .
#   docker run --rm -v "$PWD:/work" rd-plugin-station inspect model.xml incoming --csv verdicts.csv
FROM python:3.11-slim
COPY requirements/station.txt /tmp/station.txt
RUN pip install --no-cache-dir -r /tmp/station.txt \
    "fastapi>=0.115" "httpx>=0.27" "paho-mqtt>=2" "prometheus-client>=0.20" "python-multipart>=0.0.18" "uvicorn>=0.30"
COPY . /tmp/rd-plugin
RUN pip install --no-cache-dir --no-deps /tmp/rd-plugin && rm -r /tmp/rd-plugin
RUN useradd --create-home --uid 1000 inspector
USER 1000
WORKDIR /work
ENTRYPOINT ["rd-plugin"]
