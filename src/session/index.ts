/**
 * The entry point for sessions, whose torrents outlive the process: `piecewise/session`. What needs Node is in
 * `piecewise/session/node`.
 */

export * as CompletionHooks from "./CompletionHooks.ts"
export * as Imported from "./Imported.ts"
export * as SessionImport from "./import/SessionImport.ts"
export * as MemorySessionStore from "./provider/memory/MemorySessionStore.ts"
export * as SavedTorrent from "./SavedTorrent.ts"
export * as Session from "./Session.ts"
export * as SessionCopy from "./SessionCopy.ts"
export * as SessionInput from "./SessionInput.ts"
export * as SessionStore from "./SessionStore.ts"
export * as TorrentFolders from "./TorrentFolders.ts"
export * as WatchFolder from "./WatchFolder.ts"
