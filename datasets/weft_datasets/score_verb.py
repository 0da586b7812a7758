"""The verb `weft score`: a thin shell over one function."""

from pathlib import Path

import click


@click.command()
@click.argument("manifest", type=click.Path(path_type=Path))
@click.option(
    "--bundle",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="Weight or fibre bundle.  [default: the package's own for what the manifest holds]",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="Table to write, Parquet."
)
@click.option(
    "--workers", type=click.IntRange(1, 1024), default=1, show_default=True, help="Answered at a time."
)
@click.option(
    "--ray", is_flag=True, help="By Ray actors: on the cluster in RAY_ADDRESS, else on this machine."
)
def score(manifest: Path, bundle: Path | None, out: Path, workers: int, ray: bool) -> None:
    """Ask a bundle about everything in MANIFEST: a row for each parcel of photos, or for each scan.

    A row holds the estimate or the shares, their interval, what advice the photos got, the truth where the
    manifest has it, and the bundle's sha256. A file that cannot be used becomes a row with its error. A run
    that was stopped goes on where it was; with --ray the answers are the same.
    """
    from weft.bundle import BUNDLED
    from weft_datasets.manifest import read_manifest
    from weft_datasets.score import score_manifest

    def tell(done: int, of: int) -> None:
        click.echo(f"{done} of {of}", err=True)

    if bundle is None:
        kind = read_manifest(manifest, strict=False).kind
        bundle = BUNDLED / {"photo": "weight.onnx", "spectrum": "fibre.onnx"}[kind]
    report = score_manifest(manifest, bundle, out, workers=workers, ray=ray, tell=tell)
    click.echo(f"{out}: {report}")
