"""Credentials are masked in the environment, in arguments and in texts; similar values are not."""

from __future__ import annotations

import ast
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import sqltrack
from sqltrack import Experiment, Run
from sqltrack.config import masked
from sqltrack.errors import ConfigError


def words(text: str) -> list[str]:
    return text.split()


# Names that programs, services and users give to credentials.
SECRET = words("""
    GITHUB_TOKEN GH_TOKEN GH_PAT GITHUB_PAT ACTIONS_RUNTIME_TOKEN ACTIONS_ID_TOKEN_REQUEST_TOKEN GH-TOKEN PAT
    CI_JOB_TOKEN CI_BUILD_TOKEN CI_DEPLOY_PASSWORD CI_REGISTRY_PASSWORD CI_DEPENDENCY_PROXY_PASSWORD CI_JOB_JWT
    CI_JOB_JWT_V2 CI_RUNNER_SHORT_TOKEN GITLAB_TOKEN DOCKER_AUTH_CONFIG AZURE_DEVOPS_EXT_PAT SYSTEM_ACCESSTOKEN
    AWS_SECRET_ACCESS_KEY AWS_ACCESS_KEY_ID AWS_SESSION_TOKEN AWS_CONTAINER_AUTHORIZATION_TOKEN S3_SECRET_KEY S3_KEY
    AZURE_SAS AZURE_CLIENT_SECRET AZURE_STORAGE_KEY AZURE_STORAGE_SAS_TOKEN ARM_ACCESS_KEY ARM_SAS_TOKEN MSI_SECRET
    IDENTITY_HEADER AZURE_OPENAI_API_KEY AZUREML_RUN_TOKEN BLOB_SAS
    GOOGLE_APPLICATION_CREDENTIALS GOOGLE_API_KEY GCP_SA_KEY GCLOUD_SERVICE_KEY CLOUDSDK_AUTH_ACCESS_TOKEN
    FIREBASE_TOKEN
    WANDB_API_KEY HF_TOKEN
    HUGGING_FACE_HUB_TOKEN HUGGINGFACE_TOKEN hf_token hfToken HFToken HFTOKEN KAGGLE_KEY
    NEPTUNE_API_TOKEN COMET_API_KEY CLEARML_API_SECRET_KEY CLEARML_API_ACCESS_KEY MLFLOW_TRACKING_PASSWORD
    MLFLOW_TRACKING_TOKEN DATABRICKS_TOKEN SNOWFLAKE_PASSWORD OPENAI_KEY OPENAI_API_KEY ANTHROPIC_API_KEY
    ANTHROPIC_AUTH_TOKEN MISTRAL_KEY REPLICATE_API_TOKEN COHERE_API_KEY TOGETHER_API_KEY RUNPOD_API_KEY LAMBDA_API_KEY
    DB_PASS DB_PASSWORD DB_PWD DB_PW PGPASSWORD MYSQL_PWD MYSQL_ROOT_PASSWORD MSSQL_SA_PASSWORD POSTGRES_PASSWORD
    REDISCLI_AUTH REDIS_PASSWORD SSHPASS SMTP_PASS SMTP_PASSWORD LDAP_BIND_PW RABBITMQ_ERLANG_COOKIE DBPASS
    SQLTRACK_DSN_PASSWORD SQLTRACK_DSN_SSLPASSWORD sslpassword scram_client_key oauth_client_secret
    SLACK_WEBHOOK SLACK_WEBHOOK_URL DISCORD_WEBHOOK_URL TEAMS_WEBHOOK_URI SLACK_BOT_TOKEN TELEGRAM_TOKEN
    AUTHORIZATION PROXY_AUTHORIZATION HTTP_COOKIE COOKIE SESSION_COOKIE BASIC_AUTH CONSUL_HTTP_AUTH BEARER
    OTEL_EXPORTER_OTLP_HEADERS SSH_PRIVATE_KEY SSH_PRIVATE SSH_KEY SSH_PRIVATE_KEY_DEPLOY ID_RSA ID_ED25519 DEPLOY_KEY
    NPM_TOKEN NODE_AUTH_TOKEN PYPI_TOKEN TWINE_PASSWORD CODECOV_TOKEN SONAR_TOKEN CONAN_PASSWORD ANACONDA_API_TOKEN
    VAULT_TOKEN VAULT_SECRET_ID ANSIBLE_VAULT_PASSWORD BORG_PASSPHRASE GPG_PASSPHRASE RESTIC_PASSWORD
    JUPYTER_TOKEN JUPYTERHUB_API_TOKEN JUPYTERHUB_CRYPT_KEY CONFIGPROXY_AUTH_TOKEN VSCODE_GIT_IPC_AUTH_TOKEN
    SLURM_JWT FLASK_SECRET_KEY DJANGO_SECRET_KEY LICENSE_KEY ENCRYPTION_KEY MASTER_KEY SIGNING_KEY STRIPE_LIVE_KEY
    api_key apikey API-KEY apiKey APIKey MyApiKey OPENAI_API_KEY_2 password Password passwd PASSWORD1 pass user_pass
    secret client-secret access_tokens API_KEYS TOKEN token auth_token authToken TOKEN_PROD
    HF_TOKEN_READ pass_phrase pwd
    credentials db.password db_creds auth totp pin PIN CARD_PIN otp OTP JSESSIONID PHPSESSID
    PASWORD PASSWROD PASSWOD db_pasword PASSWORT kennwort
""")

# Names of the same programs, and of arguments of models, with another meaning.
HARMLESS = words("""
    GITHUB_ACTIONS GITHUB_SHA GITHUB_REF GITHUB_REPOSITORY GITHUB_ACTOR GITHUB_WORKSPACE RUNNER_OS
    ACTIONS_ID_TOKEN_REQUEST_URL ACTIONS_CACHE_URL CI CI_COMMIT_SHA CI_PIPELINE_ID CI_PROJECT_PATH
    CI_SERVER_TLS_KEY_FILE
    AWS_REGION AWS_PROFILE AWS_DEFAULT_REGION AWS_WEB_IDENTITY_TOKEN_FILE AWS_SHARED_CREDENTIALS_FILE
    AWS_CONTAINER_CREDENTIALS_RELATIVE_URI AZURE_CLIENT_ID AZURE_TENANT_ID AZURE_SUBSCRIPTION_ID ARM_USE_MSI
    GOOGLE_CLOUD_PROJECT CLOUDSDK_CONFIG GCLOUD_PROJECT WANDB_PROJECT WANDB_MODE WANDB_RUN_ID WANDB_DIR
    HF_HOME HF_HUB_OFFLINE HF_TOKEN_PATH TRANSFORMERS_CACHE TOKENIZERS_PARALLELISM
    KAGGLE_USERNAME COMET_WORKSPACE NEPTUNE_PROJECT MLFLOW_TRACKING_URI MLFLOW_TRACKING_USERNAME OPENAI_BASE_URL
    SLURM_JOB_ID SLURM_NTASKS SLURM_NODELIST SLURM_SUBMIT_DIR SLURM_CPUS_PER_TASK SLURM_SRUN_COMM_PORT PBS_JOBID
    LSB_JOBID
    CONDA_PREFIX CONDA_DEFAULT_ENV CONDA_EXE CONDA_SHLVL _CE_CONDA VIRTUAL_ENV PYTHONPATH PYTHONHASHSEED PIP_CACHE_DIR
    PYCHARM_HOSTED PYCHARM_DISPLAY_PORT IDEA_INITIAL_DIRECTORY JETBRAINS_REMOTE_RUN VSCODE_GIT_ASKPASS_NODE
    VSCODE_GIT_ASKPASS_MAIN VSCODE_PID TERM_PROGRAM TERM_SESSION_ID GIT_ASKPASS SSH_ASKPASS SUDO_ASKPASS SSH_AUTH_SOCK
    SSH_AGENT_PID SSH_CONNECTION XAUTHORITY DBUS_SESSION_BUS_ADDRESS DESKTOP_SESSION GNOME_KEYRING_CONTROL GPG_KEY
    GPG_AGENT_INFO PATH HOME PWD OLDPWD USER LOGNAME SHELL LANG LS_COLORS KEYBOARD XKB_DEFAULT_LAYOUT
    POSTGRES_PASSWORD_FILE PGPASSFILE PGSSLKEY PGREQUIREAUTH require_auth passfile sslkey PGHOST PGUSER SASROOT
    CUDA_VISIBLE_DEVICES OMP_NUM_THREADS NCCL_DEBUG NUM_TOKENS MASTER_ADDR MASTER_PORT WORLD_SIZE RANK
    use_cls_token cls_token clsToken pad_token eos_token bos_token mask_token unk_token sep_token class_token
    additional_special_tokens special_tokens max_tokens max_new_tokens num_tokens tokens token_dim token_type_ids
    eos_token_id tokenizer tokenizer_name tokenize tokenized per_token loss_per_token next_token image_token stop_token
    subtoken key key_size key_dim sort_key image_key metric_key monitor_key state_key cache_key public_key primary_key
    rng_key keys label_keys monkey keyboard keypoints hotkey turkey pass_rate passes n_pass forward_pass single_pass
    low_pass bypass compass encompass passthrough pass_at_k author authors authority authentic cookiecutter
    secretary credit accreditation patch_size path pattern file_pat patience session sig signature sas_version
    pinned pin_memory pins session_id SESSION_ID XDG_SESSION_ID otp_length username db_user passenger
    auth_method credential_type password_encryption password_length api_key_file secret_name
    use_token use_auth_token save_dir lr batch_size webhook_count host_pwd
""")


def test_the_tables_hold_many_names() -> None:
    assert min(len(SECRET), len(HARMLESS)) > 150
    assert not set(SECRET) & set(HARMLESS)


def test_a_name_that_means_a_credential_masks_the_value() -> None:
    assert [name for name in SECRET if masked(name, "s3cret") != "***"] == []


def test_a_name_that_only_resembles_one_does_not() -> None:
    assert [name for name in HARMLESS if masked(name, "value") != "value"] == []


@pytest.mark.parametrize("value", ["", "true", "False", "no", "0", "1", "None"])
def test_a_text_that_says_yes_no_or_nothing_is_no_credential(value: str) -> None:
    assert masked("HF_HUB_DISABLE_IMPLICIT_TOKEN", value) == value


# JSON in JSON in JSON.
NESTED = json.dumps(json.dumps(json.dumps({"token": "{}"}))).replace("{", "{{").replace("}", "}}").replace("{{}}", "{}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # URLs
        ("postgresql://alice:s3cret@host/db", "postgresql://alice:***@host/db"),
        ("postgresql://alice:p@s3cret@host:5432/db", "postgresql://alice:***@host:5432/db"),
        ("postgres://alice:s3/cr?et#s3cret@host/db", "postgres://alice:***@host/db"),
        ("redis://:s3cret@host:6379/0", "redis://:***@host:6379/0"),
        ("https://s3cret@github.com/org/repo.git", "https://***@github.com/org/repo.git"),
        ("https://oauth2:s3cret@gitlab.com/a/b", "https://oauth2:***@gitlab.com/a/b"),
        ("git+https://u:s3cret@host/a@v1.2", "git+https://u:***@host/a@v1.2"),
        ("http://proxy:s3cret@host:3128", "http://proxy:***@host:3128"),
        ("first https://u:s3cret@a/b, then redis://:s3cret@c", "first https://u:***@a/b, then redis://:***@c"),
        ("proxy:s3cret@host:3128", "proxy:***@host:3128"),
        ("https://host/p?user=a&password=s3cret&b=1", "https://host/p?user=a&password=***&b=1"),
        ("https://host/p?token=s3cret", "https://host/p?token=***"),
        (
            "https://x.blob.core.windows.net/c?sv=2022&sig=s3cret%3D",
            "https://x.blob.core.windows.net/c?sv=2022&sig=***",
        ),
        ("https://s3/b?X-Amz-Expires=60&X-Amz-Signature=s3cret", "https://s3/b?X-Amz-Expires=60&X-Amz-Signature=***"),
        ("https://maps/api?key=s3cret&q=1", "https://maps/api?key=***&q=1"),
        ("https://hooks.slack.com/services/T0/B0/s3cret", "https://hooks.slack.com/***"),
        ("https://discord.com/api/webhooks/12/s3cret", "https://discord.com/api/webhooks/***"),
        (f"https://api.telegram.org/bot123456789:{'s3cr-t_' * 5}/getMe", "https://api.telegram.org/bot***/getMe"),
        # Connection strings and assignments
        ("host=h password='s3cret x' user=u", "host=h password=*** user=u"),
        ("host=h password = s3cret user=u", "host=h password = *** user=u"),
        (r"password='s3cret \' s3cret' user=u", "password=*** user=u"),
        ("AccountName=a;AccountKey=s3cret==", "AccountName=a;AccountKey=***"),
        ("options='user=u password=s3cret'", "options='user=u password=***'"),
        ("--overrides=lr=0.1,db.password=s3cret", "--overrides=lr=0.1,db.password=***"),
        ("db.password=s3cret lr=0.1", "db.password=*** lr=0.1"),
        ("HF_TOKEN=s3cret python train.py", "HF_TOKEN=*** python train.py"),
        # Command lines
        ("train.py --password s3cret --lr 0.1", "train.py --password *** --lr 0.1"),
        ("train.py --password=s3cret --lr=0.1", "train.py --password=*** --lr=0.1"),
        ("train.py --api-key 's3cret x' -v", "train.py --api-key '***' -v"),
        ("train.py -token s3cret", "train.py -token ***"),
        ("curl -H 'Authorization: Bearer s3cret' x", "curl -H 'Authorization: ***' x"),
        ("curl -H 'X-Api-Key: s3cret'", "curl -H 'X-Api-Key: ***'"),
        # Nested texts
        ('{"user": "a", "password": "s3cret", "n": 1}', '{"user": "a", "password": "***", "n": 1}'),
        ("{'hf_token': 's3cret'}", "{'hf_token': '***'}"),
        ("['train.py', '--password=s3cret']", "['train.py', '--password=***']"),
        (
            '{"a": "{\\\\"password\\\\": \\\\"s3\\\\\\\\\\\\"cret\\\\", \\\\"n\\\\": 1}"}',
            '{"a": "{\\\\"password\\\\": \\\\"***\\\\", \\\\"n\\\\": 1}"}',
        ),
        (NESTED.format("s3cret"), NESTED.format("***")),
        ("user: a\npassword: s3cret  # of a\nport: 1", "user: a\npassword: ***  # of a\nport: 1"),
        ("- api_key: 's3cret x'\r\n", "- api_key: '***'\r\n"),
        ("passwords:\n  - s3cret\n  - s3 cret\nlr: 1\n", "passwords:\n  - ***\n  - ***\nlr: 1\n"),
        ("password: [s3cret, s3cret]\nlr: 1", "password: ***\nlr: 1"),
        ("{password: s3cret, lr: 1}", "{password: ***, lr: 1}"),
        ('password = ["s3cret", "s3cret"]  # two', "password = ***  # two"),
        ("Config(password=['s3cret', 's3cret'], lr=1)", "Config(password=***, lr=1)"),
        ("git+https://s3cret:x-oauth-basic@github.com/a", "git+https://***:***@github.com/a"),
        ("s3cret:x-oauth-basic@github.com", "***:***@github.com"),
        ("https://s3cret0123456789abcdef:@host/a", "https://***@host/a"),
        ("https://s3cret0123456789abcdef:any@host/a", "https://***:***@host/a"),
        ("<db><password>s3cret</password></db>", "<db><password>***</password></db>"),
        ("machine h login u password s3cret", "machine h login u password ***"),
        ("Driver=x;UID=u;PWD=s3cret", "Driver=x;UID=u;PWD=***"),
        ("Server=h; User ID=u; pwd = s3cret", "Server=h; User ID=u; pwd = ***"),
        ("https://host/?api%5Fkey=s3cret&a=1", "https://host/?api%5Fkey=***&a=1"),
        ("https://host/?a=1&%74oken=s3cret", "https://host/?a=1&%74oken=***"),
        ("curl -u user:s3cret https://host", "curl -u user:*** https://host"),
        ("curl --proxy-user 'user:s3cret' x", "curl --proxy-user 'user:***' x"),
        ("mysql -u root -ps3cret db", "mysql -u root -p*** db"),
        ("sshpass -p s3cret ssh h", "sshpass -p *** ssh h"),
        ("docker login -u u -p s3cret host", "docker login -u u -p *** host"),
        # Code
        ("os.environ['HF_TOKEN'] = 's3cret'", "os.environ['HF_TOKEN'] = ***"),
        ('os.environ["HF_TOKEN"]="s3cret"', 'os.environ["HF_TOKEN"]=***'),
        ("os.environ.setdefault('HF_TOKEN', 's3cret')", "os.environ.setdefault('HF_TOKEN', '***')"),
        ('password: str = "s3cret"', "password: str = ***"),
        ("const token: string = 's3cret';", "const token: string = ***;"),
        ("password => 's3cret'", "password => ***"),
        ("password := s3cret", "password := ***"),
        ('password <- "s3cret"', "password <- ***"),
        ("ENV HF_TOKEN s3cret", "ENV HF_TOKEN ***"),
        ('os.getenv("API_KEY", "s3cret")', 'os.getenv("API_KEY", "***")'),
        ("os.environ.get('API_KEY', default='s3cret')", "os.environ.get('API_KEY', default='***')"),
        ('environ.pop("HF_TOKEN", f"s3cret{x}")', 'environ.pop("HF_TOKEN", f"***")'),
        ('API_KEY: Final = "s3cret"', "API_KEY: Final = ***"),
        ("API_KEY: Final[str] = 's3cret'", "API_KEY: Final[str] = ***"),
        ('{"Authorization": f"token s3cret"}', '{"Authorization": f"***"}'),
        ("{'password': rb's3cret', 'lr': 1}", "{'password': rb'***', 'lr': 1}"),
        ('get(url, HTTPBasicAuth("bob", "s3cret"))', 'get(url, HTTPBasicAuth("bob", "***"))'),
        ("HTTPBasicAuth(users['a'], 's3\"cret')", "HTTPBasicAuth(users['a'], '***')"),
        # Options in lists
        ("['x', '--password', 's3cret', '--lr', '1']", "['x', '--password', '***', '--lr', '1']"),
        ('["--password", "s3cret"]', '["--password", "***"]'),
        ("""['--password', "s3'cret"]""", """['--password', "***"]"""),
        ('+  "--api-key",\n+  "s3cret",\n', '+  "--api-key",\n+  "***",\n'),
        (r'{"a": "[\"--password\", \"s3cret\", \"x\"]"}', r'{"a": "[\"--password\", \"***\", \"x\"]"}'),
        ("CMD ['--token', f's3cret']", "CMD ['--token', f'***']"),
        # Diffs
        ("+password: s3cret\n-  password: s3cret  # a", "+password: ***\n-  password: ***  # a"),
        ("+  - token: s3cret\n+passwords:\n+  - s3cret\n", "+  - token: ***\n+passwords:\n+  - ***\n"),
        # Logs
        ("INFO password: s3cret012345", "INFO password: ***"),
        ("Your API key is s3cret012345", "Your API key is ***"),
        ("-----BEGIN OPENSSH PRIVATE KEY-----\ns3cret\n-----END OPENSSH PRIVATE KEY-----\n", "***\n"),
        (f"-----BEGIN PRIVATE KEY-----\n{'s3cret' * 10}\ns3cr==\nloss 0.5\n", "***\nloss 0.5\n"),
        (f"+-----BEGIN PRIVATE KEY-----\n+{'s3cret' * 10}\n+s3cr\n+x = 1\n", "+***\n+x = 1\n"),
        (rf"'-----BEGIN PRIVATE KEY-----\n{'s3cret' * 10}\ns3cr=\n', lr=0.1", r"'***\n', lr=0.1"),
    ],
)
def test_a_text_is_masked_where_it_holds_a_credential(text: str, expected: str) -> None:
    assert masked("harmless", text) == expected


CONTAINERS: dict[str, Any] = {
    "a": {"password": ["s3cret", "s3, ] 'cret", None, True, "false"], "n": [1, "x"]},
    "credentials": {"user": "s3cret", "more": ["s3cret", 5], "k": {"z": 's3" } cret'}},
    "token": {"kind": "bpe"},
    "api_keys": ["s3cret"],
    "cls_token": ["[CLS]"],
}
MASKED_CONTAINERS: dict[str, Any] = {
    "a": {"password": ["***", "***", None, True, "false"], "n": [1, "x"]},
    "credentials": {"user": "***", "more": ["***", 5], "k": {"z": "***"}},
    "token": {"kind": "bpe"},
    "api_keys": ["***"],
    "cls_token": ["[CLS]"],
}


def test_lists_and_objects_in_json_text_are_masked_as_those_that_are_given() -> None:
    text, expected = json.dumps(CONTAINERS), json.dumps(MASKED_CONTAINERS)
    for _ in range(3):
        assert masked("harmless", text) == expected
        text, expected = json.dumps({"a": text}), json.dumps({"a": expected})
    assert ast.literal_eval(masked("harmless", repr(CONTAINERS))) == MASKED_CONTAINERS
    assert masked("harmless", '{"password": ["s3cret", "s3cr') == '{"password": ["***", "***"'


@pytest.mark.parametrize("name", ["user", "DB_USER", "username", "login"])
def test_a_login_may_hold_a_password(name: str) -> None:
    assert masked(name, "alice:s3cret: x") == "alice:***"
    for value in ("alice", "1000:1000", "https://host/alice", "a b: c"):
        assert masked(name, value) == value


@pytest.mark.parametrize(
    "token",
    [
        *("ghp_" + "a1" * 18, "github_pat_" + "a1" * 20, "glpat-" + "a1" * 10, "hf_" + "aB" * 17, "xoxb-12-34-abcdef"),
        *("sk_" + "live_" + "a1" * 12, "rk_" + "test_" + "a1" * 12, "AKIA" + "IOSFODNN7EXAMPLE", "ASIA" + "A1" * 8),
        *("nvapi-" + "a1" * 12, "gsk_" + "a1" * 12, "r8_" + "a1" * 12, "dapi" + "a1" * 16, "lsv2_pt_" + "a1" * 12),
        *("lsv2_sk_" + "a1_" * 12, "SG." + "a1" * 11 + "." + "a1" * 20, "ATATT3" + "a1=" * 9, "tskey-auth-" + "a1" * 9),
    ],
)
def test_tokens_of_services_are_known_whatever_holds_them(token: str) -> None:
    assert masked("harmless", f"a {token} b") == "a *** b"


@pytest.mark.parametrize(
    "text",
    [
        "https://host:8080/path?page=2#top",
        "postgresql://alice@host:5432/db",
        "ssh://git@github.com/org/repo",
        "git@github.com:org/repo.git",
        "https://host:8080/@user/post",
        "ghcr.io/org/image:1.0@sha256:0123456789abcdef",
        "s3://bucket/key=value/part",
        "train.py --use-cls-token x --num-tokens 5 --lr 0.1 -p 22",
        "max_tokens=5 sort_key=loss key=image use_token=true",
        "*.tar=01;31:*.zip=01;31",
        '{"cls_token": "[CLS]", "pad_token": "<pad>"}',
        "password authentication failed for user alice",
        "see alice@example.org at 12:30",
        "sk-learn-random-forest-classifier",
        "C:\\Users\\alice",
        "OLDPWD=/home/a PWD=/home/b",
        "token: the smallest unit of a text",
        "the next token is unconstitutional, the token: 12",
        "+lr: 0.1\n+num_tokens: 4096\n+sort_key: loss\n+cls_token: '[CLS]'\n",
        "ENV PYTHONUNBUFFERED 1\nx <- 5\nnum_tokens <- 5\nmodel['sort_key'] = 'loss'",
        "docker run -u 1000:1000 image",
        "<cls_token>[CLS]</cls_token>",
        "mkdir -p a",
        "AKIAAAA",
        "['--num-tokens', '5', '--tokenizer', 'bpe', '--author', 'alice', '--password', '--lr', '1']",
        "os.getenv('NUM_TOKENS', '5') + os.environ.get('HF_TOKEN', None) + environ.get('API_KEY', default)",
        "num_tokens: Final = 5\nSORT_KEY: Final[str] = 'loss'\n{'tokenizer': f'bpe', 'passes': b'2'}",
        "HTTPBasicAuth(user, password)",
        "nvapi-cuda gsk_short r8_model dapi.example SG.module.name tskey-short /bot/1:2 lsv2_pt_x",
        "if '-----BEGIN PRIVATE KEY-----' in text:\n    return read(text)\n",
        '+BEGIN = "-----BEGIN RSA PRIVATE KEY-----"\n+\n+def load(path):\n+    x = 1\n-old = 2\n unchanged\n',
        "expected -----BEGIN PRIVATE KEY----- in line 1\ndone\nloss 0.5\n12\n",
        '["-----BEGIN PRIVATE KEY-----", "other"]\nrun(["a", "b"])',
        r'{"begin": "-----BEGIN EC PRIVATE KEY-----\nfirst line", "lr": 0.1}',
        "-----BEGIN PRIVATE KEY-----",
    ],
)
def test_a_text_without_credentials_stays_as_it_is(text: str) -> None:
    assert masked("harmless", text) == text


@pytest.mark.parametrize(
    "text",
    [
        "a" * 300_000,
        "-a" * 150_000,
        "a=" * 150_000,
        "://@" * 75_000,
        "'a': " * 60_000,
        "'password': [" * 20_000,
        '\\"a\\":\\"' * 40_000,
        "a:\n- " * 50_000,
        "password=[' " * 20_000,
        "token: " + "a" * 300_000,
        "token<-" * 50_000,
        "token : str " * 30_000,
        "ENV a " * 50_000,
        "'--a', '" * 40_000,
        "'--password', " * 20_000,
        "HTTPBasicAuth(a" * 20_000,
        "getenv('a', '" * 20_000,
        "SG.a" * 75_000,
        "-----BEGIN PRIVATE KEY-----" * 20_000,
        "-----BEGIN PRIVATE KEY-----\n" + "a1" * 150_000,
        "-----BEGIN PRIVATE KEY-----\n" + "a1+\\" * 75_000 + "!",
        "-----BEGIN PRIVATE KEY-----\n" + "Comment: " * 30_000,
        "-----BEGIN PRIVATE KEY-----\na1\n" * 10_000,
    ],
)
def test_long_texts_are_read_in_time_that_grows_with_their_length(text: str) -> None:
    """The test ends within a second only if no place of a text is read far ahead."""
    assert len(masked("harmless", text)) <= len(text) * 3


KEY_LINES = [
    *("MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC7VJTUt9Us8cKj", "+/z" * 21 + "k", "0" * 64, "abcdefgh" * 8),
    "NzI1+k==",
]
KEY_FORMS: list[tuple[str, str]] = [
    *(
        ("\n", ""),
        ("\r\n", ""),
        ("\n+", "+"),
        ("\n-", "-"),
        ("\n ", " "),
        ("\n    ", "key: |\n    "),
        ("\\n", '{"a": "'),
    ),
    *(("\\\\n", '"{\\"a\\": \\"'), ("\\n'\n    '", "KEY = ('"), ('\\n" +\n+    "', '+key = "'), (" ", "KEY=")),
    *(("\n> ", "> "), ("\n# ", "# "), ("\n\n", "")),
]


@given(st.sampled_from(KEY_FORMS), st.sampled_from(["", "RSA ", "OPENSSH "]), st.booleans(), st.integers(0, 500))
def test_a_private_key_that_is_cut_is_masked_completely(
    form: tuple[str, str], kind: str, has_headers: bool, size: int
) -> None:
    separator, before = form
    headers = ["Proc-Type: 4,ENCRYPTED", "DEK-Info: AES-128-CBC,0123456789ABCDEF", ""] if has_headers else []
    begin = f"{before}-----BEGIN {kind}PRIVATE KEY-----"
    lines = [*headers[: 3 if separator != " " else 0], *KEY_LINES]
    text = begin + (separator + separator.join(lines))[:size]
    shown = masked("harmless", text)
    assert all(line[first : first + 16] not in shown for line in KEY_LINES for first in range(0, len(line), 4))


SIGNS = st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=1, max_size=12)
PLACES = [
    *(
        "postgres://u:{}@h/d",
        "redis://:{}@h:6379",
        "see postgres://u:{}@h/d?a=b and",
        "mysql+x://u:{}@h",
        "a=b;password={}",
    ),
    *("password={} user=x", "--password {} --lr 1", "--password={}", "'--db-password={}', 'x'"),
]


@given(SIGNS, st.sampled_from(PLACES), st.booleans())
def test_nothing_is_left_of_a_password_whatever_signs_it_has(signs: str, place: str, is_quoted: bool) -> None:
    text = place.format(f"Q7z{signs}Q7z")
    assert "Q7z" not in masked("harmless", repr(text) if is_quoted else text)


@given(st.lists(st.sampled_from([*"ab:/@='\"- {}[](),;&?.<>`\\\n", "password", "token", "://", "--"]), max_size=30))
def test_no_text_is_too_odd_to_be_masked(parts: list[str]) -> None:
    assert isinstance(masked("harmless", "".join(parts)), str)


# Stored values


ARGS: dict[str, Any] = {
    "lr": 0.1,
    "password": "s3cret",
    "hf_token": "s3cret",
    "use_token": True,
    "pin_code": 1234,
    "api_key": None,
    "cls_token": "[CLS]",
    "db": {"url": "postgresql://u:s3cret@h/d", "user": "u", "passwd": "s3cret", "port": 5432},
    "credentials": {"user": "s3cret", "more": ["s3cret", 5]},
    "token": {"kind": "bpe"},
    "api_keys": ["s3cret", "s3cret"],
    "hosts": [{"name": "a", "secret": "s3cret"}, "redis://:s3cret@a"],
    "argv": ["train.py", "--password", "s3cret", "--token=s3cret", "--lr", "0.1", "-p", "22"],
    "command": "train.py --api-key s3cret --lr 0.1",
}
STORED: dict[str, Any] = {
    "lr": 0.1,
    "password": "***",
    "hf_token": "***",
    "use_token": True,
    "pin_code": 1234,
    "api_key": None,
    "cls_token": "[CLS]",
    "db": {"url": "postgresql://u:***@h/d", "user": "u", "passwd": "***", "port": 5432},
    "credentials": {"user": "***", "more": ["***", 5]},
    "token": {"kind": "bpe"},
    "api_keys": ["***", "***"],
    "hosts": [{"name": "a", "secret": "***"}, "redis://:***@a"],
    "argv": ["train.py", "--password", "***", "--token=***", "--lr", "0.1", "-p", "22"],
    "command": "train.py --api-key *** --lr 0.1",
}


def column(run: Run, name: str) -> Any:
    (value,) = run.client.execute(f"SELECT {name} FROM runs WHERE id = %s", (run.id,)).fetchone()
    return value


@pytest.mark.parametrize(("name", "method"), [("args", "add_args"), ("args", "set_args"), ("env", "add_env")])
def test_values_are_stored_with_their_credentials_masked(name: str, method: str, run: Run) -> None:
    """Numbers and truth values are never credentials, whatever their name."""
    getattr(run, method)(ARGS)
    assert column(run, name) == STORED


def test_names_hold_no_credentials_and_none_is_lost(run: Run) -> None:
    run.add_args({"redis://:s3cret@h": 1, "redis://:other@h": 2, "a": {"--password=s3cret": {"api_key=s3cret": 3}}})
    expected = {"redis://:***@h": 1, "redis://:***@h (2)": 2, "a": {"--password=***": {"api_key=***": 3}}}
    assert column(run, "args") == expected


def test_arguments_are_not_changed_where_the_caller_keeps_them(run: Run) -> None:
    before = json.dumps(ARGS)
    run.add_args(ARGS)
    assert json.dumps(ARGS) == before


def test_extras_are_the_users_own_and_stay(run: Run) -> None:
    assert column(run.set_extras({"token": "mine"}), "extras") == {"token": "mine"}


SETTINGS: list[tuple[dict[str, Any], tuple[str, str], tuple[str, str]]] = [
    ({}, ("x", "***"), ("x", "***")),
    ({"mask": "false"}, ("x", "y"), ("x", "y")),
    ({"mask": False, "mask_env": True}, ("x", "y"), ("x", "***")),
    ({"mask_env": "no"}, ("x", "***"), ("x", "y")),
    ({"mask_names": "my_*"}, ("***", "***"), ("***", "***")),
    ({"mask_env_names": "my_*"}, ("x", "***"), ("***", "***")),
    ({"mask_names": "!hf_token, my_login"}, ("***", "y"), ("***", "y")),
]


def test_settings_turn_masking_off_and_say_more_names_and_exceptions(config: dict[str, Any]) -> None:
    for settings, args, env in SETTINGS:
        run = Experiment(sqltrack.Client(config, **settings), name="a").get_run()
        run.set_args({"my_login": "x", "hf_token": "y"}).set_env({"MY_LOGIN": "x", "HF_TOKEN": "y"})
        assert column(run, "args") == dict(zip(("my_login", "hf_token"), args)), settings
        assert column(run, "env") == dict(zip(("MY_LOGIN", "HF_TOKEN"), env)), settings


def test_a_setting_that_is_neither_true_nor_false_is_an_error(config: dict[str, Any]) -> None:
    """The error is raised when the client is created, and not in the middle of a run."""
    for name in ("mask", "mask_env"):
        with pytest.raises(ConfigError, match=f"{name} must be true or false, got 'perhaps'"):
            sqltrack.Client(config, **{name: "perhaps"})
