/**
 * The commands there are, and the texts made of that: help and shell completion. What a command does is in the file
 * named after it, which is imported when it is asked for.
 */
import * as Arguments from "./Arguments.ts"

const torrent = { name: "TORRENT", about: "a torrent file, or its http(s) URL" }
const followLinks: Arguments.Option = {
  name: "follow-links",
  about: "take symbolic links as what they lead to, wherever that is"
}
const json: Arguments.Option = { name: "json", about: "write JSON to standard output" }

/** Where a download keeps its pieces. */
export const storages = ["filesystem", "io-daemon", "memory"] as const

/** Whose sockets a download uses. */
export const networks = ["tcp", "io-daemon"] as const

const port: Arguments.Option = { name: "port", value: "N", about: "where peers may connect to us" }
const limitUp: Arguments.Option = { name: "limit-up", value: "RATE", about: "give no faster than this" }
const goals: ReadonlyArray<Arguments.Option> = [
  { name: "seed-ratio", value: "RATIO", about: "stop once so many times its size was given, such as 1.5" },
  { name: "seed-time", value: "TIME", about: "stop after so long, such as 30m, 2h or 7d" }
]

const download: Arguments.Command = {
  name: "download",
  about: "download what a torrent describes",
  operands: [torrent],
  options: [
    { name: "output", short: "o", value: "DIR", about: "the folder to store it in, made if need be (default: here)" },
    { name: "peer", value: "HOST:PORT", repeats: true, about: "a peer to ask besides those that trackers know" },
    { name: "storage", value: "KIND", choices: storages, about: "filesystem (default), io-daemon or memory" },
    { name: "network", value: "KIND", choices: networks, about: "whose sockets: tcp (default) or io-daemon" },
    { name: "io-daemon-url", value: "URL", about: "an io-daemon that runs; its token is in PIECEWISE_IO_DAEMON_TOKEN" },
    { name: "max-connections", value: "N", about: "peers to be connected to at once (default: 50)" },
    { name: "buffer", value: "SIZE", about: "memory for pieces that are under way (default: 64MiB)" },
    { name: "select", value: "GLOB", repeats: true, about: "only files that match, such as '*.mkv' or 'extras/**'" },
    { name: "overwrite", about: "replace files of others that are in the way; pieces that match are kept" },
    { name: "start-over", about: "fetch everything again if all files with stored bytes are gone" },
    { name: "state", value: "DIR", about: "where to remember what is stored, also when it is complete" },
    { name: "sequential", about: "fetch pieces from the first on, to watch or listen meanwhile" },
    { name: "limit-down", value: "RATE", about: "fetch no faster than this" },
    limitUp,
    port,
    { name: "seed", about: "give to others when everything is stored, until Ctrl-C or as follows" },
    ...goals,
    { name: "json", about: "write each event as a line of JSON" },
    { name: "quiet", short: "q", about: "write nothing but errors" }
  ],
  notes: [
    "Started again, it goes on from what is stored. DIR/.piecewise remembers that, and is removed when",
    "everything is stored, verified and flushed. Ctrl-C stops and keeps what is stored.",
    "Files that exist are used if they are the torrent's, and left alone if not, unless you --overwrite."
  ]
}

const seed: Arguments.Command = {
  name: "seed",
  about: "give what is stored to others",
  operands: [torrent, { name: "PATH", about: "the folder it was downloaded to, or its file or folder itself" }],
  options: [
    { ...port, about: `${port.about} (default: any free one)` },
    { name: "peer", value: "HOST:PORT", repeats: true, about: "a peer to connect to besides those that trackers know" },
    { name: "max-connections", value: "N", about: "peers to be connected to at once (default: 50)" },
    limitUp,
    ...goals,
    followLinks,
    { name: "super", about: "tell each peer of one piece at a time: for the first seed of a torrent" },
    { name: "json", about: "write each event as a line of JSON" },
    { name: "quiet", short: "q", about: "write nothing but errors" }
  ],
  notes: ["Everything is verified first, and nothing is changed. Ctrl-C stops."]
}

const create: Arguments.Command = {
  name: "create",
  about: "make a torrent file of a file or folder",
  operands: [{ name: "PATH", about: "the file or folder to share" }],
  options: [
    { name: "output", short: "o", value: "FILE", about: "where to write it (default: NAME.torrent)" },
    { name: "piece-length", value: "SIZE", about: "bytes in a piece (default: for about 2000 pieces)" },
    { name: "tracker", value: "URL", repeats: true, about: "a tracker to announce to; the first is asked first" },
    { name: "private", about: "peers may come from the trackers only" },
    { name: "comment", value: "TEXT", about: "a text to go with it" },
    followLinks,
    { name: "quiet", short: "q", about: "write nothing but errors" }
  ]
}

const info: Arguments.Command = {
  name: "info",
  about: "show what a torrent or magnet link says",
  operands: [{ name: "TORRENT", about: "a torrent file, its http(s) URL, or a magnet link" }],
  options: [json]
}

const verify: Arguments.Command = {
  name: "verify",
  about: "compare stored files with a torrent",
  operands: [torrent, { name: "PATH", about: "the folder it was downloaded to, or its file or folder itself" }],
  options: [followLinks, json, { name: "quiet", short: "q", about: "write nothing but errors" }]
}

const scrape: Arguments.Command = {
  name: "scrape",
  about: "ask trackers how many peers a torrent has",
  operands: [{ name: "TORRENT", about: "a torrent file, its http(s) URL, or a magnet link" }],
  options: [json]
}

/** The shells that `completions` knows. */
export const shells = ["bash", "zsh", "fish"] as const

const completions: Arguments.Command = {
  name: "completions",
  about: "print what makes a shell complete piecewise",
  operands: [{ name: "SHELL", about: shells.join(", ") }],
  options: [],
  notes: [
    "bash: piecewise completions bash > ~/.local/share/bash-completion/completions/piecewise",
    "zsh:  piecewise completions zsh > a folder of $fpath, as _piecewise",
    "fish: piecewise completions fish > ~/.config/fish/completions/piecewise.fish"
  ]
}

/** Every command, in the order of the help. */
export const all: ReadonlyArray<Arguments.Command> = [download, seed, create, info, verify, scrape, completions]

const sizes = "SIZE is a number of bytes, or one with KiB, MiB or GiB."
const rates = "RATE is as much a second, such as 500KiB or 2MiB."

const table = (rows: ReadonlyArray<readonly [left: string, right: string]>): ReadonlyArray<string> => {
  const width = Math.max(...rows.map(([left]) => left.length))
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`)
}

/** The help of the program. */
export const help = (): string =>
  [
    "piecewise: a BitTorrent client that verifies every piece before it is stored",
    "",
    "Usage: piecewise COMMAND ...",
    "",
    ...table(all.map(({ about, name }) => [name, about])),
    "",
    "piecewise COMMAND --help tells more, piecewise --version the version.",
    "Exit codes: 0 done, 1 failed, 2 wrong command line, 130 stopped by Ctrl-C, 141 nobody reads.",
    ""
  ].join("\n")

const names = ({ name, short, value }: Arguments.Option): string =>
  `${short === undefined ? "    " : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`

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
    `Usage: ${["piecewise", command.name, ...command.operands.map(({ name }) => name), "[options]"].join(" ")}`,
    "",
    ...table([
      ...command.operands.map(({ about, name }) => [name, about] as const),
      ...options.map((option) => [names(option), option.about] as const)
    ]),
    ...(notes.length > 0 ? ["", ...notes] : []),
    ""
  ].join("\n")
}

const quote = (text: string): string => `'${text.replaceAll("'", "'\\''")}'`

const bash = (): string => {
  const cases = all.map((command) => {
    const words = [...command.options, Arguments.help].map(({ name }) => `--${name}`)
    if (command.name === completions.name) words.push(...shells)
    return `    ${command.name}) words=${quote(words.join(" "))} ;;`
  })
  const values = download.options.flatMap(({ choices, name }) =>
    choices === undefined
      ? []
      : `  elif [ "\${COMP_WORDS[COMP_CWORD-1]}" = --${name} ]; then words=${quote(choices.join(" "))}`
  )
  return `_piecewise() {
  local current="\${COMP_WORDS[COMP_CWORD]}" words=
  case "\${COMP_WORDS[1]}" in
${cases.join("\n")}
  esac
  if [ "$COMP_CWORD" -eq 1 ]; then words=${quote(all.map(({ name }) => name).join(" "))}
${values.join("\n")}
  elif [[ "$current" != -* ]] && [ "\${COMP_WORDS[1]}" != ${completions.name} ]; then
    mapfile -t COMPREPLY < <(compgen -f -- "$current"); return
  fi
  mapfile -t COMPREPLY < <(compgen -W "$words" -- "$current")
}
complete -o filenames -F _piecewise piecewise
`
}

const zsh = (): string => {
  // A colon ends the name in a description, and a bracket its text.
  const escape = (text: string): string => text.replace(/[\\:[\]]/g, "\\$&")
  const cases = all.flatMap((command) => {
    const options = [...command.options, Arguments.help].map(({ about, choices, name, repeats, value }) => {
      const action = choices === undefined ? (value === "DIR" ? "_files -/" : "_files") : `(${choices.join(" ")})`
      const takes = value === undefined ? "" : `:${value.replaceAll(":", "\\:")}:${action}`
      return quote(`${repeats === true ? "*" : ""}--${name}[${escape(about)}]${takes}`)
    })
    const operands = command.operands.map(({ name }) =>
      quote(`:${name}:${name === "SHELL" ? `(${shells.join(" ")})` : "_files"}`)
    )
    return [`    ${command.name}) _arguments ${[...options, ...operands].join(" ")} ;;`]
  })
  return [
    "#compdef piecewise",
    "_piecewise() {",
    "  if (( CURRENT == 2 )); then",
    `    local -a commands=(${all.map(({ about, name }) => quote(`${name}:${escape(about)}`)).join(" ")})`,
    "    _describe command commands",
    "    return",
    "  fi",
    "  local command=$words[2]",
    "  shift words; (( CURRENT-- ))",
    "  case $command in",
    ...cases,
    "  esac",
    "}",
    'if [ "$funcstack[1]" = _piecewise ]; then _piecewise "$@"; else compdef _piecewise piecewise; fi',
    ""
  ].join("\n")
}

const fish = (): string => {
  const lines = all.flatMap((command) => {
    const within = `complete -c piecewise -n '__fish_seen_subcommand_from ${command.name}'`
    return [
      `complete -c piecewise -f -n __fish_use_subcommand -a ${command.name} -d ${quote(command.about)}`,
      ...command.options.map(({ about, choices, name, short, value }) =>
        [
          within,
          ...(short === undefined ? [] : [`-s ${short}`]),
          `-l ${name}`,
          ...(value === undefined ? [] : ["-r"]),
          ...(choices === undefined ? [] : [`-f -a ${quote(choices.join(" "))}`]),
          `-d ${quote(about)}`
        ].join(" ")
      ),
      ...(command.name === completions.name ? [`${within} -f -a ${quote(shells.join(" "))}`] : [])
    ]
  })
  return [...lines, ""].join("\n")
}

/** The completion script of a shell, or `undefined` for one that is not known. */
export const completion = (shell: string): string | undefined => {
  switch (shell) {
    case "bash":
      return bash()
    case "zsh":
      return zsh()
    case "fish":
      return fish()
    default:
      return undefined
  }
}
