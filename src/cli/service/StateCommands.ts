/**
 * The commands for what a service keeps in its state folder, with their options. Each is implemented in the file named
 * after it.
 */
import type * as Arguments from "../Arguments.ts"
import * as CommonOptions from "../CommonOptions.ts"

/** The clients whose sessions can be imported, as `session/import/SessionImport.ts` has them. The help needs no Effect. */
export const clients = ["qbittorrent", "transmission"] as const

const state: Arguments.Option = {
  name: "state",
  value: "DIR",
  about: "the state folder of the service (default: ~/.local/state/piecewise)"
}

const importing: Arguments.Command = {
  name: "import",
  about: "take over the torrents of another client",
  operands: [
    { name: "CLIENT", isNoPath: true, about: clients.join(" or ") },
    { name: "FOLDER", about: "the folder of its session, such as ~/.local/share/qBittorrent" }
  ],
  options: [CommonOptions.json, state],
  notes: [
    "Stop the other client and the service before. Files stay where they are. What the other client has",
    "stored is seeded at once, and verified before. It may be run again."
  ]
}

const backup: Arguments.Command = {
  name: "backup",
  about: "save what a service remembers to one file",
  operands: [{ name: "FILE", about: "where to write it; an earlier backup is replaced" }],
  options: [
    CommonOptions.json,
    { name: "service", value: "URL", about: "where it is (default: the one that uses the state folder)" },
    state
  ],
  notes: ["The service may run meanwhile. The files of torrents, the token and the password are not part of it."]
}

const restore: Arguments.Command = {
  name: "restore",
  about: "put a backup into an empty state folder",
  operands: [{ name: "FILE", about: "the backup" }],
  options: [CommonOptions.json, state],
  notes: ["What has changed in the files of torrents since the backup is verified when the service starts."]
}

/** Every command, in the order of the help. */
export const all: ReadonlyArray<Arguments.Command> = [importing, backup, restore]
