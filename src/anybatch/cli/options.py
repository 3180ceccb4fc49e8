"""The options as types: their names, their help, and under which heading they stand."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

_ANSWER = "What the answer looks like"
_PACE = "How fast"
_OUTPUT = "Where the table goes"
_TERMS = "What it may cost, and when it is done"
_PHASES = "How long it takes"
_FAULTS = "What goes wrong"
_OTHER = "What is another on the second side"


def _say_version(wanted: bool) -> None:
    if wanted:
        from anybatch import __version__

        typer.echo(__version__)
        raise typer.Exit


@dataclass(slots=True)
class Errors:
    """How errors are shown: what the options tell the entry point, as the object of the context."""

    with_traceback: bool = False


def _note_debug(context: typer.Context, wanted: bool) -> None:
    if wanted and isinstance(context.obj, Errors):
        context.obj.with_traceback = True


Debug = Annotated[
    bool,
    typer.Option(
        "--debug", is_eager=True, callback=_note_debug, help="Show a traceback on errors."
    ),
]
Version = Annotated[
    bool,
    typer.Option("--version", is_eager=True, callback=_say_version, help="Say the version."),
]

RunWord = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, its start, or `last`.")]
OtherRun = Annotated[str, typer.Argument(metavar="RUN", help="The run it is held against.")]
Manifest = Annotated[
    bool, typer.Option("--manifest", "--json", help="All of it, as JSON on stdout.")
]
Number = Annotated[int, typer.Argument(metavar="N", min=0, help="Which request; 0 is the first.")]
Only = Annotated[str, typer.Option(help="The outcomes to try again, comma between them.")]
Store = Annotated[
    Path | None,
    typer.Option(help="Where runs are kept. Default: ANYBATCH_HOME, else ~/.anybatch."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Say it as JSON on stdout.")]
AsJsonLines = Annotated[
    bool, typer.Option("--json", help="Say it as JSON on stdout, a line whenever it changes.")
]
Forget = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before sending.")]
Canary = Annotated[
    int | None,
    typer.Option(min=0, help="So many rows go first by batch; else 10 of more than 1,000."),
]
NoCanary = Annotated[bool, typer.Option("--no-canary", help="Send all rows at once.")]
KeepRemote = Annotated[
    bool, typer.Option("--keep-remote", help="Delete nothing at the provider when all is here.")
]
NoDedupe = Annotated[
    bool, typer.Option("--no-dedupe", help="Ask for each row, even if another asks the same.")
]
ReuseAnswers = Annotated[
    bool | None,
    typer.Option(
        "--reuse/--reuse-always",
        help="Take answers of earlier runs: where nothing is left to chance, or always.",
        show_default=False,
    ),
]
Pack = Annotated[
    int,
    typer.Option(
        min=1, max=100, metavar="ROWS", help="Ask so many rows in one prompt; 200 are tried first."
    ),
]
PackAgreement = Annotated[
    float | None,
    typer.Option(
        min=0,
        max=0.99,
        metavar="SHARE",
        help="So far packed answers have to agree with single ones. Default: 0.9.",
    ),
]
Again = Annotated[bool, typer.Option("--again", help="Start over, even if this was asked before.")]

AtProvider = Annotated[
    str, typer.Option("--remote", metavar="PROVIDER", help="Whose files: openai, gemini, …")
]
Delete = Annotated[bool, typer.Option("--yes", "-y", help="Delete what is listed.")]
ProviderName = Annotated[str, typer.Argument(metavar="PROVIDER", help="Such as openai.")]
OneModel = Annotated[
    str | None,
    typer.Option("--model", help="Make a batch of one row with this model, which costs."),
]
ItsUrl = Annotated[
    str | None, typer.Option("--base-url", help="Another address of the same kind of service.")
]
Wait = Annotated[
    float,
    typer.Option(
        min=0, max=86_400, metavar="SECONDS", help="Wait so long for its end, then cancel it."
    ),
]

FakeName = Annotated[str, typer.Argument(metavar="PROVIDER", help="Such as openai.")]
Port = Annotated[int, typer.Option(min=0, max=65_535, help="Where it listens; 0: any free one.")]
ServerPort = Annotated[
    int | None,
    typer.Option("--port", min=0, max=65_535, help="Where it listens. Default: 8000; 0: any."),
]
Host = Annotated[str | None, typer.Option(help="The address to listen at. Default: 127.0.0.1.")]
ReloadRoutes = Annotated[
    bool,
    typer.Option("--reload-routes", help="Have the server that runs read its routes again."),
]
Compared = Annotated[
    str | None, typer.Argument(metavar="FILE|RUN", help="The data; or a run, and another one.")
]
AgainstRun = Annotated[
    str | None, typer.Argument(metavar="RUN", help="A run of the same data that is there too.")
]
WithModel = Annotated[
    str | None,
    typer.Option(metavar="PROVIDER/MODEL", help="Who answers.", rich_help_panel=_OTHER),
]
WithPrompt = Annotated[
    str | None, typer.Option(help="What is asked: text or @file.", rich_help_panel=_OTHER)
]
WithSystem = Annotated[
    str | None, typer.Option(help="Its system prompt; '' for none.", rich_help_panel=_OTHER)
]
WithBaseUrl = Annotated[
    str | None, typer.Option(help="An OpenAI-compatible endpoint.", rich_help_panel=_OTHER)
]
WithApi = Annotated[str | None, typer.Option(help="The shape of a body.", rich_help_panel=_OTHER)]
WithExecutor = Annotated[str | None, typer.Option(help="batch or online.", rich_help_panel=_OTHER)]
WithPack = Annotated[
    int | None,
    typer.Option(
        min=1, max=100, metavar="ROWS", help="So many rows in one prompt.", rich_help_panel=_OTHER
    ),
]
WithParameters = Annotated[
    list[str] | None,
    typer.Option(
        "--with-set",
        metavar="NAME=VALUE",
        help="A model parameter, instead of all --set. Repeatable.",
        rich_help_panel=_OTHER,
    ),
]
WithSchema = Annotated[
    str | None,
    typer.Option(help="What the answer looks like; '' for a text.", rich_help_panel=_OTHER),
]
WithLabels = Annotated[
    str | None, typer.Option(help="Likewise, one of these.", rich_help_panel=_OTHER)
]
WithFields = Annotated[
    list[str] | None,
    typer.Option(
        "--with-field",
        metavar="NAME:TYPE",
        help="Likewise, with this field. Repeatable.",
        rich_help_panel=_OTHER,
    ),
]
Rows = Annotated[int, typer.Option(min=1, help="So many rows by chance; all, if there are fewer.")]
Tolerance = Annotated[
    float,
    typer.Option(min=0, max=1, help="By this share numbers may differ and agree nevertheless."),
]
Html = Annotated[Path | None, typer.Option(metavar="FILE", help="Write it as a page, too.")]

KeyName = Annotated[str, typer.Argument(metavar="NAME", help="Whose key it is.")]
KeyWord = Annotated[str, typer.Argument(metavar="KEY", help="A key's id, or a name: all of its.")]
Weight = Annotated[
    int | None, typer.Option(min=1, max=1000, help="So many batches go on for one of others.")
]
CallsAMinute = Annotated[int | None, typer.Option("--rpm", min=1, help="Calls a minute at most.")]
MaxBatches = Annotated[int | None, typer.Option(min=1, help="Open batches at most.")]
TokensADay = Annotated[
    int | None, typer.Option(min=1, help="When 24 hours have used so many, batches wait.")
]
Config = Annotated[Path | None, typer.Option(help="The anybatch.toml to read. Default: ./")]
Events = Annotated[
    list[str] | None, typer.Argument(metavar="EVENT", help="Such as evt_…: these alone.")
]
Endpoint = Annotated[
    str | None, typer.Option(metavar="ID", help="To this endpoint alone, such as we_….")
]
Since = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="All since then: 30m, 2h or 7d ago, or as 2026-11-20."),
]
AskedKey = Annotated[str | None, typer.Option("--key", help="The key that calls must carry.")]
Validating = Annotated[float, typer.Option(min=0, help="Seconds.", rich_help_panel=_PHASES)]
InProgress = Annotated[
    float, typer.Option(min=0, help="Seconds; rows are done evenly.", rich_help_panel=_PHASES)
]
Finalizing = Annotated[float, typer.Option(min=0, help="Seconds.", rich_help_panel=_PHASES)]
Cancelling = Annotated[float, typer.Option(min=0, help="Seconds.", rich_help_panel=_PHASES)]
Latency = Annotated[
    float, typer.Option(min=0, help="Seconds before each answer.", rich_help_panel=_PHASES)
]
Limit = Annotated[
    list[str] | None,
    typer.Option(metavar="NAME=NUMBER", help="As max-batches=2. Repeatable."),
]
Faults = Annotated[
    float,
    typer.Option(
        min=0, max=1, metavar="SHARE", help="So many exchanges fail.", rich_help_panel=_FAULTS
    ),
]
RowFaults = Annotated[
    float,
    typer.Option(min=0, max=1, metavar="SHARE", help="So many rows fail.", rich_help_panel=_FAULTS),
]
FirstFaults = Annotated[
    list[str] | None,
    typer.Option(
        "--fault",
        metavar="OPERATION=FAULT,…",
        help="What the first of an operation meet, as create=lost,429. Repeatable.",
        rich_help_panel=_FAULTS,
    ),
]
Ends = Annotated[
    list[str] | None,
    typer.Option(
        "--end",
        metavar="END[:ROWS]",
        help="How the next batch ends, as expired:6 (after six rows). Repeatable.",
        rich_help_panel=_FAULTS,
    ),
]
Seed = Annotated[int, typer.Option(help="Of ids, of the order of results, of chance.")]

Requests = Annotated[
    str, typer.Argument(metavar="FILE", help="Ready-made requests, or - for stdin.")
]
ForProvider = Annotated[str, typer.Option("--provider", help="Whose rules: openai, anthropic, …")]
ApiVersion = Annotated[
    str | None,
    typer.Option(help="Of the API, where it matters; else the newest we know."),
]

Priced = Annotated[
    list[str] | None,
    typer.Argument(metavar="[PROVIDER/MODEL|PROVIDER|update]…", help="Which; default: all."),
]
ChangedSince = Annotated[
    str | None,
    typer.Option(metavar="DATE", help="Only what changed since then, or is announced."),
]

Data = Annotated[
    str | None,
    typer.Argument(
        metavar="FILE",
        help="CSV, JSONL, JSON, Parquet, Excel, a folder or glob of texts, or - for stdin.",
    ),
]
Prompt = Annotated[
    str | None, typer.Option(help="What to ask: a text with {{ column }}, or @file.")
]
System = Annotated[str | None, typer.Option(help="A system prompt: text or @file.")]
Model = Annotated[str, typer.Option(metavar="PROVIDER/MODEL", help="Such as local/smollm2.")]
BaseUrl = Annotated[str | None, typer.Option(help="An OpenAI-compatible endpoint, up to /v1.")]
ApiName = Annotated[
    str | None,
    typer.Option(help="The shape of a body, if not the provider's first: openai.responses, …"),
]
Executor = Annotated[
    str | None,
    typer.Option(help="batch or online; else batch, where the provider has a batch API."),
]
Tail = Annotated[
    str,
    typer.Option(help="How that goes which two waves of batches have left: online or batch."),
]
Cache = Annotated[
    str,
    typer.Option(
        help="What is said to the provider's prompt cache: auto, where it is known to pay, or off."
    ),
]
Parameters = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A model parameter. Repeatable."),
]
Sql = Annotated[str | None, typer.Option(help="An SQL query for the rows (DuckDB).")]
BadRows = Annotated[str, typer.Option(help="What becomes of bad rows: fail or skip.")]

Schema = Annotated[
    str | None,
    typer.Option(help="Its JSON Schema: a file, or module:Class.", rich_help_panel=_ANSWER),
]
Labels = Annotated[
    str | None,
    typer.Option(help="It is one of these: bug,feature,question.", rich_help_panel=_ANSWER),
]
Fields = Annotated[
    list[str] | None,
    typer.Option(
        "--field",
        metavar="NAME:TYPE",
        help="It has this field, as age:integer or mood:good|bad. Repeatable.",
        rich_help_panel=_ANSWER,
    ),
]

Concurrency = Annotated[
    int | None, typer.Option(min=1, help="Calls in flight at most.", rich_help_panel=_PACE)
]
Rpm = Annotated[
    int | None, typer.Option(min=1, help="Requests a minute at most.", rich_help_panel=_PACE)
]
Tpm = Annotated[
    int | None, typer.Option(min=1, help="Tokens a minute at most.", rich_help_panel=_PACE)
]

By = Annotated[
    str | None,
    typer.Option(
        "--by",
        metavar="TIME",
        help="When all of it is to be done: 06:00, 4h or 2026-11-21T06:00.",
        rich_help_panel=_TERMS,
    ),
]
Budget = Annotated[
    float | None,
    typer.Option(metavar="DOLLARS", help="What all of it may cost, as 25.", rich_help_panel=_TERMS),
]
Prefer = Annotated[
    str,
    typer.Option(
        help="Of what is in time and within the budget: cheap or fast.", rich_help_panel=_TERMS
    ),
]

EveryRow = Annotated[
    bool,
    typer.Option(
        "--every-row",
        help="Count the tokens of all rows, instead of a sample of more than 100,000.",
    ),
]
Compare = Annotated[
    str | None,
    typer.Option(metavar="MODEL,…", help="The same by these models: openai/…,anthropic/…."),
]
Chart = Annotated[
    Path | None,
    typer.Option(metavar="FILE", help="Draw it, as .svg or .html.", rich_help_panel=_OUTPUT),
]
HowMany = Annotated[
    str | None,
    typer.Option(
        "--requests", metavar="N/TIME", help="Instead of a FILE, as 1000/day, or a number alone."
    ),
]
TokensIn = Annotated[int | None, typer.Option("--input-tokens", min=0, help="Of one such request.")]
TokensOut = Annotated[
    int | None, typer.Option("--output-tokens", min=0, help="Of the answer to one.")
]
TokensShared = Annotated[
    int | None,
    typer.Option("--shared-tokens", min=0, help="Of its input, those at the head of all of them."),
]
Preview = Annotated[
    int,
    typer.Option(
        min=0,
        metavar="N",
        help="So many rows are answered in real time ahead of a batch.",
        rich_help_panel=_TERMS,
    ),
]
Overflow = Annotated[
    str | None,
    typer.Option(
        metavar="batch",
        help="What does not fit through a rate limit in real time goes by batch.",
        rich_help_panel=_TERMS,
    ),
]

Out = Annotated[
    str | None,
    typer.Option(
        "-o",
        "--out",
        metavar="FILE",
        help="A .csv .tsv .jsonl .json .parquet or .xlsx file, or - for stdout.",
        rich_help_panel=_OUTPUT,
    ),
]
Force = Annotated[
    bool, typer.Option("--force", help="Overwrite the file.", rich_help_panel=_OUTPUT)
]
Bodies = Annotated[
    bool,
    typer.Option(
        "--bodies",
        help="Instead of the table, what the service answered: its own lines of results.",
        rich_help_panel=_OUTPUT,
    ),
]
Raw = Annotated[
    bool,
    typer.Option(
        "--raw",
        help="Leave cells that start with = + - @ as they are.",
        rich_help_panel=_OUTPUT,
    ),
]
