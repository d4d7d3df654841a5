"""Settings of the deployment: every value that differs between machines comes from the environment.

Each key is explained in deploy/env.example. A value that cannot be read stops the start.
"""

import logging
import sys
from pathlib import Path
from typing import Any

import environ
import structlog

from pqlapp import csp, local, unfold

env = environ.Env()
BASE_DIR = Path(__file__).resolve().parent.parent
DATA_DIR = local.data_dir()

# ---- who we are
DEBUG = env.bool("DEBUG", default=False)
SECRET_KEY = env.str("SECRET_KEY", default="") or local.secret_key(DATA_DIR)
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])
ALLOWED_HOSTS = env.list("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = env.list("CSRF_TRUSTED_ORIGINS", default=[])

# ---- servers: the environment's, else those of DATA_DIR, which manage.py has started by now if the command needs them
_servers = local.recorded(DATA_DIR)
DATABASES: dict[str, dict[str, Any]] = {"default": {"ENGINE": "django.db.backends.dummy"}}
if "DATABASE_URL" in _servers:
    DATABASES["default"] = {
        **env.db_url_config(_servers["DATABASE_URL"]),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
    }
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        "application_name": "pql",
        # Lets hot statements be prepared; a pooler that hands out connections by transaction cannot have it.
        "prepare_threshold": 5 if env.bool("PREPARED_STATEMENTS", default=True) else None,
        **DATABASES["default"].get("OPTIONS", {}),
    }
REDIS_URL = _servers.get("REDIS_URL", "redis://127.0.0.1:6379/0")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# ---- what the house is made of
INSTALLED_APPS = [
    "unfold",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_htmx",
    "django_filters",
    "django_structlog",
    "csp",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "scoring",
    "routing",
    "pqlapp",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "pqlapp.straight.straight_to_the_door",
    "csp.middleware.CSPMiddleware",
    "pqlapp.csp.AdminPolicyMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django_structlog.middlewares.RequestMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
ROOT_URLCONF = "pqlapp.urls"
WSGI_APPLICATION = "pqlapp.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]
        },
    }
]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"

# ---- static files: collected and hashed where STATIC_ROOT is given (the image), else straight from the packages, so
# that a first run and the tests have nothing to collect and never serve yesterday's stylesheet
STATIC_URL = "/static/"
STATIC_ROOT = env.str("STATIC_ROOT", default="") or None
WHITENOISE_USE_FINDERS = STATIC_ROOT is None
WHITENOISE_MAX_AGE = 3600 if STATIC_ROOT else 0
_STATIC_STORAGE = (
    "whitenoise.storage.CompressedManifestStaticFilesStorage"
    if STATIC_ROOT
    else "django.contrib.staticfiles.storage.StaticFilesStorage"
)
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": _STATIC_STORAGE},
}

# ---- the admin
UNFOLD = unfold.UNFOLD

# ---- people
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "/"
LOGOUT_REDIRECT_URL = LOGIN_URL
_VALIDATION = "django.contrib.auth.password_validation"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"{_VALIDATION}.UserAttributeSimilarityValidator"},
    {"NAME": f"{_VALIDATION}.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": f"{_VALIDATION}.CommonPasswordValidator"},
    {"NAME": f"{_VALIDATION}.NumericPasswordValidator"},
]

# ---- safety
HTTPS = env.bool("HTTPS", default=False)
ADMIN_PREFIX = "/admin/"
CONTENT_SECURITY_POLICY = {"DIRECTIVES": csp.STRICT}
X_FRAME_OPTIONS = "DENY"
SECURE_SSL_REDIRECT = HTTPS
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # asked from inside, without the proxy
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
# The rest of the company's domain is not ours to bind, nor to put on the browsers' preload list.
SILENCED_SYSTEM_CHECKS = ["security.W005", "security.W021"]
if env.bool("TRUST_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SESSION_COOKIE_NAME = "__Host-sessionid" if HTTPS else "sessionid"
CSRF_COOKIE_NAME = "__Host-csrftoken" if HTTPS else "csrftoken"
CSRF_COOKIE_HTTPONLY = False  # the desk's script reads it for htmx
DATA_UPLOAD_MAX_MEMORY_SIZE = 6_000_000  # bytes of a request as sent: the limit that the ingest doors promise
DATA_UPLOAD_MAX_NUMBER_FIELDS = 10_000  # a rule document of 300 rules as a form has some thousands

# ---- files of history that admins upload; web and the worker of the jobs must see the same directory
UPLOADS = DATA_DIR / "uploads"
UPLOAD_LIMIT = env.int("UPLOAD_LIMIT", default=2_000_000_000)  # bytes

# ---- the columnar mirror for bulk work; every process must see the same directory
MIRROR = DATA_DIR / "mirror"
MIRROR_EVERY = env.int("MIRROR_EVERY", default=600)  # seconds between refreshes; 0: no mirror is kept

# ---- the API
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["rest_framework.authentication.SessionAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["pqlapp.deny.DenyAll"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_FILTER_BACKENDS": ["django_filters.rest_framework.DjangoFilterBackend"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "pqlapp.api.problems.handler",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "PQL",
    "VERSION": "1",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": "/api/v1/",
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "pqlapp.api.schema.complete",
    ],
    "ENUM_NAME_OVERRIDES": {
        "AccountKind": "scoring.models.Account.Kind",
        "ExclusionKind": "scoring.models.Exclusion.Kind",
        "JobState": "scoring.models.Job.State",
        "LeadState": "routing.models.State",
        "RefundClaim": "routing.models.CLAIMED",
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# ---- who is who. An id that calls use together with more than these joins nobody: a kiosk, a test user, a bot.
MOST_USERS_OF_AN_ID = env.int("MOST_USERS_OF_AN_ID", default=10)  # distinct user ids
MOST_LINKS_OF_AN_ID = env.int("MOST_LINKS_OF_AN_ID", default=1_000)  # ids of any kind

# ---- the bell. Redis may lose everything in it at any time: all work is rows in PostgreSQL.
CELERY_BROKER_URL = REDIS_URL
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CONNECTION_TIMEOUT = 1
CELERY_VISIBILITY_TIMEOUT = 600  # seconds; longer than any task may run, or a task runs twice
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "visibility_timeout": CELERY_VISIBILITY_TIMEOUT,
    "socket_timeout": 2,
    "socket_connect_timeout": 1,
}
CELERY_TASK_PUBLISH_RETRY = False  # an absent Redis must not hold up whoever rings
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_ACKS_LATE = True
CELERY_TASK_REJECT_ON_WORKER_LOST = True
CELERY_TASK_SOFT_TIME_LIMIT = 270
CELERY_TASK_TIME_LIMIT = 300
# Jobs may run for an hour, and have a worker of their own, as has the mirror: no score waits for one.
CELERY_TASK_ROUTES = {"pqlapp.bell.carry_on": {"queue": "jobs"}, "pqlapp.bell.mirror": {"queue": "jobs"}}
# What only a job needs is loaded by it: statistics are heavy.
JOB_RUNNERS = {
    "import": "pqlapp.ingest.history.uploads.run",
    "backtest": "scoring.backtest.running.run",
    "simulate": "routing.simulator.run",
}
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
INGEST_AT_ONCE = env.int("INGEST_AT_ONCE", default=8)  # calls taken at once by one web process; see ingest.admission
CELERY_WORKER_CONCURRENCY = env.int("WORKERS", default=2)
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_MAX_TASKS_PER_CHILD = 5000
CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT = 5
CELERY_WORKER_ETA_TASK_LIMIT = 100
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_ENABLE_UTC = True
CELERY_TIMEZONE = "UTC"
CELERY_BEAT_SCHEDULE_FILENAME = str(DATA_DIR / "beat")
CELERY_BEAT_SCHEDULER = "pqlapp.beat:Scheduler"
CELERY_BEAT_SCHEDULE = {"tick": {"task": "pqlapp.bell.tick", "schedule": 2.0, "options": {"expires": 10}}}

# ---- logs: lines of JSON, or readable ones on a terminal
LOG_LEVEL = env.str("LOG_LEVEL", default="INFO")
REQUEST_LOG_LEVEL = env.str("REQUEST_LOG_LEVEL", default="WARNING")
_SHARED_PROCESSORS: list[Any] = [
    structlog.contextvars.merge_contextvars,
    structlog.stdlib.add_logger_name,
    structlog.stdlib.add_log_level,
    structlog.processors.TimeStamper(fmt="iso", utc=True),
    structlog.processors.StackInfoRenderer(),
]
structlog.configure(
    processors=[
        structlog.stdlib.filter_by_level,
        *_SHARED_PROCESSORS,
        structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
    ],
    logger_factory=structlog.stdlib.LoggerFactory(),
    cache_logger_on_first_use=True,
)
_RENDERERS: list[Any] = (
    [structlog.dev.ConsoleRenderer()]
    if sys.stderr.isatty()
    else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
)
DJANGO_STRUCTLOG_STATUS_4XX_LOG_LEVEL = logging.INFO
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "structured": {
            "()": structlog.stdlib.ProcessorFormatter,
            "foreign_pre_chain": _SHARED_PROCESSORS,
            "processors": [structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_RENDERERS],
        }
    },
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "structured"}},
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
    "loggers": {
        "django.server": {"handlers": ["stderr"], "propagate": False},
        # A line for each request and each ring would drown everything else; failures still speak.
        "django_structlog": {"level": REQUEST_LOG_LEVEL},
        "django.request": {"level": "ERROR"},  # a stranger's faults are in the answers; a flood must not fill a disk
        "celery": {"level": REQUEST_LOG_LEVEL},
    },
}
