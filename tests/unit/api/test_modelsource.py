import pytest

from hearth.api.modelsource import ModelURI, parse_model_uri


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("hf://Qwen/Qwen3-8B", ModelURI("hf", "Qwen/Qwen3-8B")),
        ("huggingface://Qwen/Qwen3-8B@v1.0", ModelURI("hf", "Qwen/Qwen3-8B", revision="v1.0")),
        ("modelscope://deepseek-ai/DeepSeek-V3", ModelURI("modelscope", "deepseek-ai/DeepSeek-V3")),
        ("pvc://models", ModelURI("pvc", "models")),
        ("pvc://models/llama/8b/", ModelURI("pvc", "models", path="llama/8b")),
        ("oci://registry.example.com:5000/team/model:v2", ModelURI("oci", "registry.example.com:5000/team/model:v2")),
        ("s3://bucket/prefix/model/", ModelURI("s3", "bucket/prefix/model")),
    ],
)
def test_every_scheme_is_read(text: str, expected: ModelURI) -> None:
    assert parse_model_uri(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Qwen/Qwen3-8B",
        "ftp://x/y",
        "hf://Qwen",
        "hf://a/b/c",
        "hf://a/b@",
        "pvc://",
        "pvc://a/../b",
        "pvc://A",
        "pvc://a..b",
        "pvc://a/..",
    ]
    + ["oci://", "oci://UPPER", "s3://", "s3://b", "hf://a/b\nrm", "hf://a/b --flag"]
    + [
        "hf://a/b@x/../y",
        "oci://host/UPPER",
        "oci://a@sha256:12",
        "oci://a//b",
        "oci://a:",
        "s3://b/../c",
        "s3://bucket/../c",
    ],
)
def test_what_has_no_scheme_or_another_shape_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected|must not"):
        parse_model_uri(text)


def test_the_name_is_the_last_part_of_the_location() -> None:
    assert parse_model_uri("hf://Qwen/Qwen3-8B@main").name == "Qwen3-8B"
    assert parse_model_uri("pvc://claim/sub/llama").name == "llama"
