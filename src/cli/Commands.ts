/**
 * The commands with their options, and the help made from them. Each command is implemented in the file named after it,
 * which is imported when the command is run.
 */
import * as Arguments from "./Arguments.ts"
import * as CommonOptions from "./CommonOptions.ts"
import * as ServiceCommands from "./service/ServiceCommands.ts"
import * as StateCommands from "./service/StateCommands.ts"

const torrent = { name: "TORRENT", about: "a torrent file, or its http(s) URL" }
const followLinks: Arguments.Option = {
  name: "follow-links",
  about: "use what symbolic links point to, wherever that is"
}
/** The values of `--storage`. */
export const storages = ["filesystem", "io-daemon", "memory"] as const

/** The values of `--network`. */
export const networks = ["tcp", "io-daemon"] as const

/** The values of `--encryption`. */
export const encryptions = ["prefer", "require", "off"] as const

/** The values of `--log-level`. */
export const logLevels = ["error", "warning", "info", "debug"] as const

const dht: ReadonlyArray<Arguments.Option> = [
  { name: "dht", about: "find peers through the DHT too, unless the torrent is private (default)" },
  { name: "no-dht", about: "use no DHT" }
]
const listening: ReadonlyArray<Arguments.Option> = [
  { name: "port", value: "N", about: "the TCP port for peers to connect to (default: 6881-6889, or any free)" },
  { name: "no-listen", about: "let no peer connect; only connect to others" },
  ...dht,
  { name: "bind", value: "ADDRESS", about: "the IP address of this machine to listen on and connect from" },
  {
    name: "encryption",
    value: "KIND",
    choices: encryptions,
    about: "of connections to peers: prefer (default), require or off"
  }
]
const logLevel: Arguments.Option = {
  name: "log-level",
  value: "LEVEL",
  choices: logLevels,
  about: "log to standard error: error, warning, info or debug (default: nothing)"
}
const blocklist: Arguments.Option = {
  name: "blocklist",
  value: "FILE",
  repeats: true,
  about: "meet no peer in these ranges: lines of CIDR, PeerGuardian or eMule"
}

const download: Arguments.Command = {
  name: "download",
  about: "download the files of a torrent",
  operands: [torrent],
  options: [
    {
      name: "output",
      short: "o",
      value: "DIR",
      about: "the folder to store it in, created if missing (default: here)"
    },
    { name: "peer", value: "HOST:PORT", repeats: true, about: "a peer to connect to besides those that are found" },
    {
      name: "storage",
      value: "KIND",
      choices: storages,
      about: "where to store pieces: filesystem (default), io-daemon or memory"
    },
    { name: "web-seed", value: "URL", repeats: true, about: "a web seed besides those that the torrent names" },
    { name: "no-web-seeds", about: "download from peers only, and from no web seed" },
    { name: "network", value: "KIND", choices: networks, about: "how to reach peers: tcp (default) or io-daemon" },
    { name: "io-daemon-url", value: "URL", about: "a running io-daemon, whose token is in PIECEWISE_IO_DAEMON_TOKEN" },
    { name: "max-connections", value: "N", about: "most peers to be connected to at once (default: 50)" },
    { name: "buffer", value: "SIZE", about: "memory for pieces that are being downloaded (default: 64MiB)" },
    CommonOptions.select,
    { name: "overwrite", about: "overwrite existing files that are in the way; keep matching pieces" },
    { name: "start-over", about: "download everything again if all stored files are gone" },
    { name: "state", value: "DIR", about: "where to keep resume data, also after completion" },
    CommonOptions.sequential,
    CommonOptions.limitDown,
    CommonOptions.limitUp,
    ...listening,
    blocklist,
    { name: "give-up", value: "TIME", about: "fail if no piece was completed for this time, such as 90s, 30m or 2h" },
    { name: "seed", about: "upload after completion, until Ctrl-C or a limit below" },
    ...CommonOptions.seedLimits,
    { name: "json", about: "write each event as a line of JSON" },
    { name: "quiet", short: "q", about: "write nothing but errors" },
    logLevel
  ],
  notes: [
    "A later run continues from what is stored. The resume data is in DIR/.piecewise, and is removed when",
    "everything is stored, verified and flushed. Ctrl-C stops the download and keeps what is stored.",
    "Existing files that match the torrent are used. Others are not touched, unless you pass --overwrite."
  ]
}

const seed: Arguments.Command = {
  name: "seed",
  about: "upload stored files to other peers",
  operands: [torrent, { name: "PATH", about: "the folder it was downloaded to, or the torrent's own file or folder" }],
  options: [
    ...listening,
    blocklist,
    { name: "peer", value: "HOST:PORT", repeats: true, about: "a peer to connect to besides those that are found" },
    { name: "max-connections", value: "N", about: "most peers to be connected to at once (default: 50)" },
    CommonOptions.limitUp,
    ...CommonOptions.seedLimits,
    followLinks,
    { name: "super", about: "offer each peer a few pieces at a time; for the first seed of a torrent" },
    { name: "json", about: "write each event as a line of JSON" },
    { name: "quiet", short: "q", about: "write nothing but errors" },
    logLevel
  ],
  notes: ["Verifies everything first, and changes no file. Ctrl-C stops it."]
}

const create: Arguments.Command = {
  name: "create",
  about: "create a torrent file from a file or folder",
  operands: [{ name: "PATH", about: "the file or folder to share" }],
  options: [
    { name: "output", short: "o", value: "FILE", about: "where to write it (default: NAME.torrent)" },
    { name: "piece-length", value: "SIZE", about: "bytes in a piece (default: chosen for about 2000 pieces)" },
    { name: "tracker", value: "URL", repeats: true, about: "a tracker to announce to; they are asked in this order" },
    { name: "web-seed", value: "URL", repeats: true, about: "a server that has its files, or the folder with them" },
    { name: "node", value: "HOST:PORT", repeats: true, about: "a DHT node to find peers through, without a tracker" },
    { name: "private", about: "allow peers from the trackers only" },
    { name: "comment", value: "TEXT", about: "a comment to store in it" },
    followLinks,
    { name: "quiet", short: "q", about: "write nothing but errors" }
  ]
}

const info: Arguments.Command = {
  name: "info",
  about: "show what a torrent or magnet link contains",
  operands: [{ name: "TORRENT", about: "a torrent file, its http(s) URL, or a magnet link" }],
  options: [CommonOptions.json]
}

const verify: Arguments.Command = {
  name: "verify",
  about: "compare stored files with a torrent",
  operands: [torrent, { name: "PATH", about: "the folder it was downloaded to, or the torrent's own file or folder" }],
  options: [followLinks, CommonOptions.json, { name: "quiet", short: "q", about: "write nothing but errors" }]
}

const scrape: Arguments.Command = {
  name: "scrape",
  about: "ask trackers, or the DHT, how many peers a torrent has",
  operands: [{ name: "TORRENT", about: "a torrent file, its http(s) URL, or a magnet link" }],
  options: [...dht, CommonOptions.json],
  notes: ["The DHT is asked for a torrent without trackers, unless it is private, and for any other with --dht."]
}

const doctor: Arguments.Command = {
  name: "doctor",
  about: "check what works from here: ports, UDP, the DHT, the disk",
  operands: [],
  options: [
    { name: "output", short: "o", value: "DIR", about: "the folder to check (default: here)" },
    ...listening,
    CommonOptions.json
  ],
  notes: ["It takes about ten seconds, joins no swarm, and says what to do about what does not work."]
}

/** Where a service keeps its state, and how the command line finds it. */
const state: Arguments.Option = {
  name: "state",
  value: "DIR",
  about: "the folder for its state (default: ~/.local/state/piecewise)"
}

const serve: Arguments.Command = {
  name: "serve",
  about: "keep torrents going, and let programs control them",
  isService: true,
  operands: [{ name: "DIR", about: "the folder to store torrents in, created if missing" }],
  options: [
    state,
    { name: "config", value: "FILE", about: "what to run and what to watch, as JSON; see docs/service.md" },
    { name: "otlp", value: "URL", about: "send metrics, spans and logs to this OpenTelemetry collector" },
    { name: "http", value: "HOST:PORT", about: "where programs reach it (default: 127.0.0.1:6880)" },
    { name: "allow-host", value: "NAME", repeats: true, about: "a name by which it may be called, as localhost may" },
    { name: "allow-origin", value: "URL", repeats: true, about: "a web page elsewhere that may use it" },
    { name: "base-path", value: "PATH", about: "the path at which a proxy serves it (default: /)" },
    { name: "trust-proxy", value: "ADDRESS", repeats: true, about: "a proxy that says from where requests come" },
    ...listening,
    blocklist,
    { name: "max-connections", value: "N", about: "most peers of all torrents together (default: 200)" },
    { name: "buffer", value: "SIZE", about: "memory for pieces that are being downloaded (default: 64MiB)" },
    {
      ...logLevel,
      about: "log to standard error: error, warning, info (default) or debug"
    }
  ],
  notes: [
    "Its torrents go on after a restart. It listens on this machine only, unless a password is set",
    "(piecewise password).",
    "Ctrl-C or SIGTERM stops it within three seconds, and SIGTERM counts as a success."
  ]
}

const password: Arguments.Command = {
  name: "password",
  about: "set or remove the password of a service",
  operands: [],
  options: [state, { name: "remove", about: "remove it, so that only the token is good" }],
  notes: [
    "It is typed on the terminal, or is the first line of standard input. The service may be running.",
    "With a password, browsers can log in, and the service may listen on more than this machine."
  ]
}

/** The shells that `completions` knows. */
export const shells = ["bash", "zsh", "fish"] as const

/** The command that prints a script for shell completion. */
export const completions: Arguments.Command = {
  name: "completions",
  about: "print a script for shell completion",
  operands: [{ name: "SHELL", isNoPath: true, about: shells.join(", ") }],
  options: [],
  notes: [
    "bash: piecewise completions bash > ~/.local/share/bash-completion/completions/piecewise",
    "zsh:  piecewise completions zsh > a folder of $fpath, in a file named _piecewise",
    "fish: piecewise completions fish > ~/.config/fish/completions/piecewise.fish"
  ]
}

const alone: ReadonlyArray<Arguments.Command> = [
  download,
  seed,
  create,
  info,
  verify,
  scrape,
  doctor,
  serve,
  password,
  completions
]

/** Every command, in the order of the help. */
export const all: ReadonlyArray<Arguments.Command> = [...alone, ...ServiceCommands.all, ...StateCommands.all]

const sizes = "SIZE is a number of bytes, or one with KiB, MiB or GiB."
const rates = "RATE is a SIZE per second, such as 500KiB or 2MiB."

type Rows = ReadonlyArray<readonly [left: string, right: string]>

const widthOf = (rows: Rows): number => Math.max(...rows.map(([left]) => left.length))

const table = (rows: Rows, width: number = widthOf(rows)): ReadonlyArray<string> =>
  rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`)

const abouts = (commands: ReadonlyArray<Arguments.Command>): Rows => commands.map(({ about, name }) => [name, about])

/** The help of the program. */
export const help = (): string =>
  [
    "piecewise: a BitTorrent client that verifies every piece before it is stored",
    "",
    "Usage: piecewise COMMAND ...",
    "",
    ...table(abouts(alone), widthOf(abouts(all))),
    "",
    "With a service that runs (piecewise serve):",
    ...table(abouts(ServiceCommands.all), widthOf(abouts(all))),
    "",
    "For what a service keeps:",
    ...table(abouts(StateCommands.all), widthOf(abouts(all))),
    "",
    "Run piecewise COMMAND --help for more, and piecewise --version for the version.",
    "Exit codes: 0 done, 1 failed, 2 wrong command line, 130 stopped by Ctrl-C, 141 output closed.",
    ""
  ].join("\n")

const names = ({ name, short, value }: Arguments.Option): string =>
  `${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`

const usageOf = ({ name, optional, repeats }: Arguments.Operand): string => {
  const text = repeats === true ? `${name}...` : name
  return optional === true ? `[${text}]` : text
}

/** The help of one command. */
export const helpOf = (command: Arguments.Command): string => {
  const options = [...command.options, Arguments.help]
  const repeats = options.filter((option) => option.repeats === true).map((option) => `--${option.name}`)
  const notes = [
    ...(options.some(({ value }) => value === "SIZE") ? [sizes] : []),
    ...(options.some(({ value }) => value === "RATE") ? [rates] : []),
    ...(repeats.length > 0 ? [`${repeats.join(" and ")} may be given several times.`] : []),
    ...(command.notes ?? [])
  ]
  return [
    `piecewise ${command.name}: ${command.about}`,
    "",
    `Usage: ${["piecewise", command.name, ...command.operands.map(usageOf), "[options]"].join(" ")}`,
    "",
    ...table([
      ...command.operands.map(({ about, name }) => [name, about] as const),
      ...options.map((option) => [names(option), option.about] as const)
    ]),
    ...(notes.length > 0 ? ["", ...notes] : []),
    ""
  ].join("\n")
}
