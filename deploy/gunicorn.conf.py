"""gunicorn's settings: threads, because a request waits for the database far more than it computes."""

import gc
import os

wsgi_app = "pqlapp.wsgi:application"
bind = os.environ.get("BIND", "0.0.0.0:8000")  # in an image the port is published on purpose
worker_class = "gthread"
workers = int(os.environ.get("WEB_WORKERS", "2"))
threads = int(os.environ.get("WEB_THREADS", "24"))  # see INGEST_AT_ONCE: some take events, some refuse, some show pages
timeout = 60
graceful_timeout = 10
keepalive = 75  # longer than the idle time of a proxy in front
max_requests = 100_000  # a slow leak never grows old
max_requests_jitter = 10_000
backlog = 512
worker_tmp_dir = "/dev/shm" if os.path.isdir("/dev/shm") else None  # noqa: S108, PTH112 - a heartbeat on a disk can stall
control_socket_disable = True  # nobody uses it, and two deployments on one machine would share its path
accesslog = None
errorlog = "-"
loglevel = os.environ.get("GUNICORN_LOG_LEVEL", "warning")
forwarded_allow_ips = os.environ.get("FORWARDED_ALLOW_IPS", "127.0.0.1")


def post_worker_init(worker: object) -> None:
    """Spare the collector what lives as long as the process: a quarter of an event's Python time went into it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
