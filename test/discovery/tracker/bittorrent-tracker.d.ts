/** The parts of the npm package `bittorrent-tracker` that the tests use. It has no types of its own. */
declare module "bittorrent-tracker/server" {
  import type { Socket, SocketOptions } from "node:dgram"
  import type { EventEmitter } from "node:events"
  import type { Server as HttpServer } from "node:http"

  /** A peer in the tracker's store of one torrent. */
  interface StoredPeer {
    readonly ip: string
    readonly port: number
    readonly complete: boolean
    /** Hex. */
    readonly peerId: string
  }

  interface Swarm {
    readonly complete: number
    readonly incomplete: number
    readonly peers: { readonly keys: ReadonlyArray<string>; readonly peek: (key: string) => StoredPeer | undefined }
  }

  /** Emits `listening`, `warning`, and after each announce its event (`update` if it has none). */
  export default class Server extends EventEmitter {
    constructor(options: {
      readonly http?: boolean
      /** Options of both its UDP sockets. By default one of them is IPv6. */
      readonly udp?: boolean | SocketOptions
      readonly ws?: boolean
      readonly stats?: boolean
      /** Milliseconds. */
      readonly interval?: number
      /** Calling `allow` with an error refuses the announce. */
      readonly filter?: (infoHash: string, parameters: unknown, allow: (error?: Error) => void) => void
    })
    readonly http: HttpServer
    readonly udp4: Socket
    /** By info hash in hex. */
    readonly torrents: { readonly [infoHash: string]: Swarm }
    listen(port: number, host: string, onListening: () => void): void
    close(onClosed: () => void): void
  }
}
