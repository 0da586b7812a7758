"""The verbs `weft serve` and `weft harvest`: thin shells; what is heavy is imported inside them."""

import gc
import os
from pathlib import Path

import click

from weft.engine_names import CHOICES

_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--weight", type=_FILE, help="Weight bundle.  [default: $WEFT_BUNDLES/weight.onnx, or the package's]"
)
@click.option(
    "--fibre", type=_FILE, help="Fibre bundle.  [default: $WEFT_BUNDLES/fibre.onnx, or the package's]"
)
@click.option("--host", help="Address to listen on; 0.0.0.0 for the whole network.  [default: 127.0.0.1]")
@click.option(
    "--port", type=click.IntRange(0, 65_535), help="Port; 0 takes a free one.  [default: $PORT, or 8000]"
)
@click.option(
    "--database", metavar="URL", help="sqlite:///FILE or postgresql://...  [default: sqlite:///weft.db]"
)
@click.option(
    "--keep-photos", metavar="PLACE", help="Keep photos in this folder, or in s3://BUCKET/PREFIX (weft[s3])."
)
@click.option(
    "--lines", type=click.Path(path_type=Path), help="Run sorting lines: a line's YAML file, or a folder."
)
@click.option(
    "--engine",
    type=click.Choice(CHOICES),
    help="What computes the weight bundle's graph.  [default: onnxruntime]",
)
@click.option(
    "--workers", type=click.IntRange(1, 256), help="Threads that decode and infer.  [default: one a core]"
)
def serve(
    weight: Path | None,
    fibre: Path | None,
    host: str | None,
    port: int | None,
    database: str | None,
    keep_photos: str | None,
    lines: Path | None,
    workers: int | None,
    engine: str | None,
) -> None:
    """Answer over HTTP until stopped. Every option has a variable WEFT_...; see docs/service.md."""
    # Read when numpy is imported: its products here are small, threads for them take a line's time.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    gc.disable()  # until all is made: looking for garbage took a fifth of the time to start
    from weft.memory import hold_little
    from weft_serving.run import run_service
    from weft_serving.settings import read_settings

    hold_little()
    settings = read_settings(
        os.environ,
        weight=weight,
        fibre=fibre,
        host=host,
        port=port,
        database_url=database,
        keep_photos=keep_photos,
        lines=lines,
        workers=workers,
        engine=engine,
    )
    run_service(settings, say=click.echo)


@click.command()
@click.option("--out", type=_FILE, required=True, help="Manifest to write, Parquet.")
@click.option("--database", metavar="URL", help="As for `weft serve`.  [default: sqlite:///weft.db]")
@click.option(
    "--photos", type=click.Path(path_type=Path, file_okay=False), help="Where the kept photos lie now."
)
def harvest(out: Path, database: str | None, photos: Path | None) -> None:
    """Turn kept, weighed estimates into a manifest to train on."""
    from weft_serving.harvest import harvest_manifest
    from weft_serving.settings import read_settings

    settings = read_settings(os.environ, database_url=database)
    report = harvest_manifest(settings.database_url, out, photos=photos)
    click.echo(f"{out}: {report}")
