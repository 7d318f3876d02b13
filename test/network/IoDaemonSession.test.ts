import { assert, beforeEach, describe, it, vi } from "@effect/vitest"
import { Redacted } from "effect"
import * as IoDaemonSession from "../../src/network/provider/io-daemon/IoDaemonSession.ts"
import type { DaemonFrame } from "../../src/network/provider/io-daemon/IoDaemonSocketCodec.ts"
import * as IoDaemonSocketCodec from "../../src/network/provider/io-daemon/IoDaemonSocketCodec.ts"
import { SocketFrameError } from "../../src/network/provider/io-daemon/IoDaemonSocketCodec.ts"

/** A WebSocket without a connection: what it was made with, what was sent, and handlers to call. */
class FakeWebSocket {
  readonly url: string
  readonly protocols: ReadonlyArray<string>
  readonly sent: Array<Uint8Array> = []
  isClosed = false
  binaryType = "blob"
  onopen = () => {}
  onmessage: ((event: { readonly data: unknown }) => void) | null = null
  onclose = (_: { readonly code: number; readonly reason: string }) => {}
  constructor(url: string, protocols: ReadonlyArray<string>) {
    this.url = url
    this.protocols = protocols
    made = this
  }
  send(bytes: Uint8Array) {
    this.sent.push(bytes)
  }
  close() {
    this.isClosed = true
  }
}

let made: FakeWebSocket

/** A session and what has become of it. */
const make = (url = "http://127.0.0.1:4710", from?: string) => {
  const events: Array<"open" | "end"> = []
  const session = IoDaemonSession.makeUnsafe(
    { url, token: Redacted.make("0123456789abcdef") },
    { onOpen: () => events.push("open"), onEnd: () => events.push("end") },
    from
  )
  const webSocket = made
  const say = (bytes: Uint8Array) => webSocket.onmessage?.({ data: Uint8Array.from(bytes).buffer })
  return {
    session,
    webSocket,
    events,
    say,
    sayFrame: (frame: DaemonFrame) => say(IoDaemonSocketCodec.encodeDaemon(frame)),
    sent: () => webSocket.sent.map(IoDaemonSocketCodec.decodeClientUnsafe)
  }
}

const makeOpen = () => {
  const all = make()
  all.webSocket.onopen()
  return all
}

/** A socket that records its frames. */
const recorder = () => {
  const told: Array<DaemonFrame | string> = []
  return {
    told,
    socket: { receiveUnsafe: (frame: DaemonFrame) => told.push(frame), breakUnsafe: (why: string) => told.push(why) }
  }
}

describe("IoDaemonSession", () => {
  beforeEach(() => {
    vi.stubGlobal("WebSocket", FakeWebSocket)
    return () => vi.unstubAllGlobals()
  })

  it("offers the token as a subprotocol, and is open when the WebSocket is", () => {
    const { events, session, webSocket } = make()
    assert.strictEqual(webSocket.url, "ws://127.0.0.1:4710/v1/sockets")
    assert.deepStrictEqual(webSocket.protocols, ["piecewise.sockets.v1", "bearer.0123456789abcdef"])
    assert.strictEqual(webSocket.binaryType, "arraybuffer")
    assert.isFalse(session.isOpenUnsafe())

    webSocket.onopen()

    assert.deepStrictEqual(events, ["open"])
    assert.isTrue(session.isOpenUnsafe())
  })

  it("offers the token to the daemon's address, whatever the URL calls this machine", () => {
    for (const url of ["http://localhost:4710", "http://[::1]:4710"]) {
      assert.strictEqual(make(url).webSocket.url, "ws://127.0.0.1:4710/v1/sockets")
      assert.strictEqual(make(url, "::1").webSocket.url, "ws://127.0.0.1:4710/v1/sockets?from=::1")
    }
  })

  it("passes frames to the socket with their id, until that is removed", () => {
    const { sayFrame, session } = makeOpen()
    const [one, two] = [recorder(), recorder()]
    session.addUnsafe(1, one.socket)
    session.addUnsafe(2, two.socket)
    const frame = { _tag: "Credit", id: 1, bytes: 7 } as const

    sayFrame(frame)
    session.removeUnsafe(1)
    sayFrame(frame)

    assert.deepStrictEqual(one.told, [frame])
    assert.deepStrictEqual(two.told, [])
  })

  it("closes a connection that arrived for a port that is gone", () => {
    const { sayFrame, sent } = makeOpen()

    sayFrame({ _tag: "Accepted", id: 1, accepted: 0x8000_0000, address: { host: "10.0.0.7", port: 1 } })

    assert.deepStrictEqual(sent(), [{ _tag: "Close", id: 0x8000_0000 }])
  })

  it("assigns ids that only grow, from 1 on", () => {
    const { session } = makeOpen()

    assert.deepStrictEqual([session.nextIdUnsafe(), session.nextIdUnsafe()], [1, 2])
  })

  it.each([
    [1006, "", "the io-daemon is gone"],
    [1001, "the daemon ends", "the io-daemon is gone"],
    [1008, "the op 99 is unknown", "the io-daemon ended its sockets: the op 99 is unknown"]
  ])("breaks its sockets when the WebSocket closes with %i and the reason %j", (code, reason, why) => {
    const { events, session, webSocket } = makeOpen()
    const one = recorder()
    session.addUnsafe(1, one.socket)

    webSocket.onclose({ code, reason })

    assert.deepStrictEqual([one.told, events], [[why], ["open", "end"]])
    assert.isFalse(session.isOpenUnsafe())
  })

  it("ends if the WebSocket never opened", () => {
    const { events, session, webSocket } = make()

    webSocket.onclose({ code: 1006, reason: "" })

    assert.deepStrictEqual(events, ["end"])
    assert.isFalse(session.isOpenUnsafe())
  })

  it("ends once, sends nothing more, and breaks later sockets at once", () => {
    const { events, session, webSocket } = makeOpen()
    const [one, late] = [recorder(), recorder()]
    session.addUnsafe(1, one.socket)

    session.endUnsafe("enough")
    webSocket.onclose({ code: 1006, reason: "" })
    session.sendUnsafe({ _tag: "Close", id: 1 })
    session.addUnsafe(2, late.socket)

    assert.deepStrictEqual([one.told, late.told, events], [["enough"], ["enough"], ["open", "end"]])
    assert.deepStrictEqual(webSocket.sent, [])
    assert.isTrue(webSocket.isClosed)
  })

  it.each([
    ["a message of text", "Hello", "a message of text"],
    ["a frame that is none", Uint8Array.of(99, 0, 0, 0, 1).buffer, "a frame of op 99"]
  ])("ends on %s", (_, data, what) => {
    const { events, session, webSocket } = makeOpen()
    const one = recorder()
    session.addUnsafe(1, one.socket)

    webSocket.onmessage!({ data })

    const why = `the io-daemon broke the protocol of its sockets: ${what}`
    assert.deepStrictEqual([one.told, events], [[why], ["open", "end"]])
    assert.isTrue(webSocket.isClosed)
    assert.isNull(webSocket.onmessage)
  })

  it("ends on a frame that its socket does not accept", () => {
    const { events, sayFrame, session } = makeOpen()
    const one = recorder()
    const receiveUnsafe = () => {
      throw new SocketFrameError({ why: "bytes that it was not asked for" })
    }
    session.addUnsafe(1, { ...one.socket, receiveUnsafe })

    sayFrame({ _tag: "Data", id: 1, bytes: Uint8Array.of(1) })

    const why = "the io-daemon broke the protocol of its sockets: bytes that it was not asked for"
    assert.deepStrictEqual([one.told, events], [[why], ["open", "end"]])
  })
})
