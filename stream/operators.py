"""Operators in Java, which Flink compiles from source with what it compiles its own generated code with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pyflink.common import TypeInformation
from pyflink.datastream import DataStream
from pyflink.java_gateway import get_gateway

_JAVA = Path(__file__).with_name("java")


def java_operator(files: Sequence[str], stream: DataStream, kind: TypeInformation, uid: str, *arguments: str | int | bool) -> DataStream:
    """Return the stream behind the operator in `java/`; the first file is named like its class, the others hold what it uses."""
    gateway = get_gateway()
    flink = gateway.jvm.org.apache.flink
    references = gateway.new_array(gateway.jvm.Object, len(arguments))
    for place, argument in enumerate(arguments):
        references[place] = argument
    code = "\n".join(_JAVA.joinpath(f"{name}.java").read_text(encoding="utf-8") for name in files)
    generated = flink.table.runtime.generated.GeneratedOperator(files[0], code, references, flink.configuration.Configuration())
    factory = flink.table.runtime.operators.CodeGenOperatorFactory(generated)
    java = stream._j_data_stream  # noqa: SLF001 - PyFlink has no accessor
    transformation = flink.streaming.api.transformations.OneInputTransformation(
        java.getTransformation(), files[0].lower(), factory, kind.get_java_type_info(), java.getParallelism(), False
    )
    transformation.setUid(uid)
    return DataStream(flink.streaming.api.datastream.DataStream(java.getExecutionEnvironment(), transformation))
