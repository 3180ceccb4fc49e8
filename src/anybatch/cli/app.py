"""The commands and their options. What they do is imported when one runs, so that help is quick."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="anybatch",
    help="A table, a prompt and a deadline in; every row back, validated and joined.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

RunWord = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its start, or `last`.")]
Store = Annotated[
    Path | None,
    typer.Option(help="Where runs are kept. Default: ANYBATCH_HOME, else ~/.anybatch."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Say it as JSON on stdout.")]
Out = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--out",
        help="The joined table: .csv .tsv .jsonl .json .parquet .xlsx, or - for stdout.",
    ),
]
Force = Annotated[bool, typer.Option("--force", help="Overwrite the output file.")]
Raw = Annotated[
    bool, typer.Option("--raw", help="Leave cells that start with = + - @ as they are.")
]
Concurrency = Annotated[int | None, typer.Option(min=1, help="Calls in flight at most.")]
Rpm = Annotated[int | None, typer.Option(min=1, help="Requests a minute at most.")]
Tpm = Annotated[int | None, typer.Option(min=1, help="Tokens a minute at most.")]


@app.callback()
def root(
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
    version: Annotated[bool, typer.Option("--version", help="Say the version.")] = False,
) -> None:
    """`--debug` is taken out of the arguments before they get here; this line documents it."""
    if version:
        from anybatch import __version__

        typer.echo(__version__)
        raise typer.Exit


@app.command()
def run(
    data: Annotated[
        str | None,
        typer.Argument(
            metavar="FILE",
            help="CSV, JSONL, JSON, Parquet, Excel, a folder or glob of texts, or - for stdin.",
        ),
    ] = None,
    prompt: Annotated[
        str | None, typer.Option(help="What to ask: a text with {{ column }}, or @file.")
    ] = None,
    system: Annotated[str | None, typer.Option(help="A system prompt: text or @file.")] = None,
    model: Annotated[
        str, typer.Option(metavar="PROVIDER/MODEL", help="Such as local/smollm2.")
    ] = "local/smollm2",
    base_url: Annotated[
        str | None, typer.Option(help="An OpenAI-compatible endpoint, up to /v1.")
    ] = None,
    api: Annotated[
        str,
        typer.Option(
            help="openai.chat, openai.responses, openai.embeddings or openai.completions."
        ),
    ] = "openai.chat",
    schema: Annotated[
        str | None, typer.Option(help="The answer's JSON Schema: a file, or module:Class.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="The answer is one of these: bug,feature,question.")
    ] = None,
    field: Annotated[
        list[str] | None, typer.Option(help="A field of the answer, as name:type. Repeatable.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="A model parameter. Repeatable."),
    ] = None,
    sql: Annotated[str | None, typer.Option(help="An SQL query for the rows (DuckDB).")] = None,
    bad_rows: Annotated[str, typer.Option(help="fail or skip.")] = "fail",
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    out: Out = None,
    store: Store = None,
    force: Force = False,
    raw: Raw = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before sending.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Start over, even if this was asked before.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Put every row through the prompt. Typed again, it goes on where it was."""
    from .run import Wishes, run_command

    wishes = Wishes(
        data=data,
        prompt=prompt,
        system=system,
        model=model,
        base_url=base_url,
        api=api,
        schema=schema,
        labels=labels,
        fields=tuple(field or ()),
        settings=tuple(set_ or ()),
        sql=sql,
        bad_rows=bad_rows,
        concurrency=concurrency,
        rpm=rpm,
        tpm=tpm,
        out=out,
        store=store,
        force=force,
        raw=raw,
        yes=yes,
        again=again,
        as_json=as_json,
    )
    raise typer.Exit(run_command(wishes))


@app.command()
def runs(store: Store = None, as_json: AsJson = False) -> None:
    """List the runs, the newest first."""
    from .look import runs_command

    runs_command(store, as_json=as_json)


@app.command()
def status(run: RunWord = "last", store: Store = None, as_json: AsJson = False) -> None:
    """How far a run is, batch by batch."""
    from .look import status_command

    status_command(run, store, as_json=as_json)


@app.command()
def watch(run: RunWord = "last", store: Store = None) -> None:
    """Follow a run that another process works on."""
    from .look import watch_command

    raise typer.Exit(watch_command(run, store))


@app.command()
def results(
    run: RunWord = "last",
    out: Out = "-",
    store: Store = None,
    force: Force = False,
    raw: Raw = False,
    as_json: AsJson = False,
) -> None:
    """Write the joined table of a run, finished or not."""
    from .look import results_command

    target = "-.jsonl" if as_json and out == "-" else out or "-"
    raise typer.Exit(results_command(run, store, target, force=force, raw=raw))


@app.command()
def show_request(
    run: RunWord, n: Annotated[int, typer.Argument(min=0)], store: Store = None
) -> None:
    """Print request N of a run, byte for byte as it goes out."""
    from .look import show_request_command

    show_request_command(run, n, store)


@app.command()
def retry(
    run: RunWord,
    only: Annotated[str, typer.Option(help="The outcomes to try again, comma between them.")],
    concurrency: Concurrency = None,
    rpm: Rpm = None,
    tpm: Tpm = None,
    out: Out = None,
    store: Store = None,
    force: Force = False,
    raw: Raw = False,
    as_json: AsJson = False,
) -> None:
    """Ask again for the rows of a finished run that have these outcomes."""
    from .change import retry_command
    from .work import Delivery, Pace

    raise typer.Exit(
        retry_command(
            run,
            only,
            store,
            pace=Pace(concurrency=concurrency, rpm=rpm, tpm=tpm),
            delivery=Delivery(out=out, force=force, raw=raw, as_json=as_json),
        )
    )


@app.command()
def cancel(run: RunWord, store: Store = None, as_json: AsJson = False) -> None:
    """Send nothing more of a run; what is answered is kept."""
    from .change import cancel_command

    raise typer.Exit(cancel_command(run, store, as_json=as_json))


@app.command()
def rm(
    run: RunWord,
    store: Store = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Forget a run: its requests, its answers and its rows."""
    from .change import rm_command

    rm_command(run, store, yes=yes)
