/**
 * The entry point for serving torrents over HTTP: `piecewise/http`. It loads Effect's HTTP server, which programs that
 * only download do not need.
 */

export * as TorrentHttp from "./TorrentHttp.ts"
