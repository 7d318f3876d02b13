/**
 * The commands that control a running service, with their options. Each is implemented in the file named after it.
 */
import type * as Arguments from "../Arguments.ts"
import * as CommonOptions from "../CommonOptions.ts"

/** The values of `--sort`, as `control/api/TorrentModel.ts` has them. Repeated here, because the help needs no Effect. */
export const sortKeys = [
  "queue",
  "name",
  "size",
  "progress",
  "added",
  "completed",
  "ratio",
  "download",
  "upload"
] as const

/** The values of `--kind`, as `control/api/TorrentModel.ts` has them. */
export const kinds = ["downloading", "seeding", "checking", "queued", "paused", "finished", "failed"] as const

const connection: ReadonlyArray<Arguments.Option> = [
  { name: "service", value: "URL", about: "where it is (default: the one that uses the state folder)" },
  {
    name: "state",
    value: "DIR",
    about: "the state folder of the service (default: ~/.local/state/piecewise)"
  }
]

const torrents: Arguments.Operand = {
  name: "TORRENT",
  repeats: true,
  isNoPath: true,
  about: "an info hash, 4 or more of its first digits, or a part of the name"
}
const someTorrents: Arguments.Operand = { ...torrents, optional: true }
const oneTorrent: Arguments.Operand = { ...torrents, repeats: false }
const every: Arguments.Option = { name: "all", about: "every torrent of the service" }

const add: Arguments.Command = {
  name: "add",
  about: "add torrents",
  operands: [
    {
      name: "SOURCE",
      repeats: true,
      about: "a torrent file, its http(s) URL, a magnet link, or - for standard input"
    }
  ],
  options: [
    { name: "label", value: "NAME", repeats: true, about: "a label of the torrents" },
    {
      name: "output",
      short: "o",
      value: "DIR",
      about: "the folder to store them in, below that of the service"
    },
    { name: "paused", about: "do not start them" },
    { name: "first", about: "put them at the front of the queue" },
    CommonOptions.select,
    CommonOptions.sequential,
    CommonOptions.limitDown,
    CommonOptions.limitUp,
    ...CommonOptions.seedLimits,
    CommonOptions.json,
    ...connection
  ],
  notes: [
    "Standard input may be a torrent file, or lines of URLs and magnet links. The service itself fetches",
    "what a URL leads to. A torrent that is there already stays as it is, and is no failure."
  ]
}

const list: Arguments.Command = {
  name: "list",
  about: "list the torrents",
  operands: [],
  options: [
    { name: "label", value: "NAME", about: "only those with this label" },
    { name: "kind", value: "KIND", choices: kinds, about: "only those of this kind" },
    { name: "search", value: "TEXT", about: "only those with this in their names, in either case" },
    { name: "sort", value: "KEY", choices: sortKeys, about: "the order (default: queue)" },
    { name: "reverse", short: "r", about: "the last one first" },
    CommonOptions.json,
    ...connection
  ],
  notes: [`KIND is one of ${kinds.join(", ")}.`, `KEY is one of ${sortKeys.join(", ")}.`]
}

const show: Arguments.Command = {
  name: "show",
  about: "show all about a torrent",
  operands: [oneTorrent],
  options: [
    { name: "files", about: "its files" },
    { name: "trackers", about: "its trackers, and other sources of peers" },
    { name: "peers", about: "the peers that it is connected to" },
    CommonOptions.json,
    ...connection
  ],
  notes: ["Without --files, --trackers and --peers, it shows the first files and the trackers."]
}

const watch: Arguments.Command = {
  name: "watch",
  about: "follow the torrents in a table that is kept up to date",
  operands: [],
  options: [{ name: "json", about: "write each change as a line of JSON" }, ...connection],
  notes: ["Keys: up, down, j and k choose a torrent, p pauses or resumes it, q ends the table."]
}

const pause: Arguments.Command = {
  name: "pause",
  about: "pause torrents",
  operands: [someTorrents],
  options: [every, CommonOptions.json, ...connection]
}

const resume: Arguments.Command = {
  name: "resume",
  about: "resume torrents that are paused or have failed",
  operands: [someTorrents],
  options: [
    every,
    { name: "overwrite", about: "overwrite existing files that are in the way; keep matching pieces" },
    { name: "start-over", about: "download everything again if all stored files are gone" },
    CommonOptions.json,
    ...connection
  ]
}

const recheck: Arguments.Command = {
  name: "recheck",
  about: "verify the files of torrents again",
  operands: [torrents],
  options: [CommonOptions.json, ...connection]
}

const remove: Arguments.Command = {
  name: "remove",
  about: "remove torrents, and their files with --data",
  operands: [torrents],
  options: [
    { name: "data", about: "delete their files too" },
    { name: "yes", short: "y", about: "do not ask before files are deleted" },
    CommonOptions.json,
    ...connection
  ]
}

const move: Arguments.Command = {
  name: "move",
  about: "move torrents to the front or the end of the queue",
  operands: [torrents],
  options: [
    { name: "first", about: "to the front" },
    { name: "last", about: "to the end" },
    CommonOptions.json,
    ...connection
  ]
}

const label: Arguments.Command = {
  name: "label",
  about: "change the labels of torrents",
  operands: [torrents],
  options: [
    { name: "add", value: "NAME", repeats: true, about: "a label to add" },
    { name: "remove", value: "NAME", repeats: true, about: "a label to remove" },
    CommonOptions.json,
    ...connection
  ]
}

const link: Arguments.Command = {
  name: "link",
  about: "print a URL with which a media player can read the files",
  operands: [oneTorrent],
  options: [CommonOptions.json, ...connection],
  notes: ["Whoever has the URL can read the files of this torrent until it expires."]
}

const limits: Arguments.Command = {
  name: "limits",
  about: "show or change the limits of the service",
  operands: [],
  options: [
    { name: "down", value: "RATE", about: "download no faster than this, all together; none for no limit" },
    { name: "up", value: "RATE", about: "upload no faster than this, all together; none for no limit" },
    { name: "downloads", value: "N", about: "most torrents to download at once; none for no limit" },
    { name: "seeds", value: "N", about: "most torrents to seed at once; none for no limit" },
    CommonOptions.json,
    ...connection
  ]
}

/** Every command, in the order of the help. */
export const all: ReadonlyArray<Arguments.Command> = [
  add,
  list,
  show,
  watch,
  pause,
  resume,
  recheck,
  remove,
  move,
  label,
  link,
  limits
]
