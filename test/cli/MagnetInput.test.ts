import { assert, describe, it } from "@effect/vitest"
import * as MagnetInput from "../../src/cli/MagnetInput.ts"

const at = (host: string) => ({ host, port: 6_881 })

describe("the peers of a magnet link (fault 91)", () => {
  const peers = ["198.51.100.1", "10.0.0.1", "127.0.0.1", "peer.example", "224.0.0.1"].map(at)
  const hosts = (from: Parameters<typeof MagnetInput.peersOf>[1]) =>
    MagnetInput.peersOf({ peers }, from).map(({ host }) => host)

  it("may be all that a peer can have if the user typed it", () => {
    assert.deepStrictEqual(hosts("loopback"), ["198.51.100.1", "10.0.0.1", "127.0.0.1", "peer.example"])
  })

  it("are no less public than the server that redirects to it, and no names, which would be followed anywhere", () => {
    assert.deepStrictEqual(hosts("public"), ["198.51.100.1"])
    assert.deepStrictEqual(hosts("private"), ["198.51.100.1", "10.0.0.1"])
  })
})
