import { assert, describe, it } from "@effect/vitest"
import * as Destination from "../../src/base/Destination.ts"

/** Asks about a URL whose host resolves to `address`, or is it. */
const whyNot = (text: string, address?: string, question?: Destination.Question) => {
  const url = new URL(text)
  return Destination.whyNotTracker(url, address ?? Destination.hostOf(url), question)
}

const nowhere = "it leads to an address that no tracker has"
const onlyHere = "a tracker on this machine must have a component in its path that begins with announce"
const onlyAround = "a tracker in the local network must have a component in its path that begins with announce"

describe("Destination of a URL in a torrent", () => {
  it.each([
    ["http://tracker.example/", "9.0.0.1"],
    ["https://tracker.example/KEY/announce.php?passkey=1", "2001:db8::1"],
    ["http://tracker.example/tracker?id=KEY", "9.0.0.1"],
    ["udp://tracker.example:80", "9.0.0.1"],
    ["http://9.0.0.1/any", undefined]
  ])("lets %s be public, at any path", (url, address) => {
    assert.isUndefined(whyNot(url, address))
  })

  it.each([
    ["http://10.0.0.9:6969/", undefined],
    ["http://192.168.1.5/tracker", undefined],
    ["http://[fd12::9]:6969/x", undefined],
    ["http://nas.lan/tracker", "192.168.1.5"],
    ["http://nas/tracker", "fd12::9"],
    ["udp://10.0.0.9:6969", undefined],
    ["udp://nas.local:6969", "192.168.1.5"]
  ])("lets %s, which shows where it is, be in the local network", (url, address) => {
    assert.isUndefined(whyNot(url, address))
  })

  it.each([
    ["http://127.0.0.1:6969/announce", undefined],
    ["http://localhost:6969/announce", "::1"],
    ["http://localhost/announce/KEY", undefined],
    ["http://localhost/KEY/announce", undefined],
    ["http://[::1]/announce.php?passkey=KEY", undefined],
    ["http://tracker.example/KEY/announce", "127.0.0.1"],
    ["http://tracker.example/announce", "10.0.0.9"],
    ["udp://tracker.example:6969/announce", "10.0.0.9"],
    ["udp://127.0.0.1:6969", undefined],
    ["udp://localhost:6969", "127.0.0.1"]
  ])("lets %s be asked for an announce", (url, address) => {
    assert.isUndefined(whyNot(url, address))
  })

  it.each([
    ["http://127.0.0.1/", undefined, onlyHere],
    ["http://localhost/api/shutdown?announce", "127.0.0.1", onlyHere],
    ["http://127.1/x-announce", undefined, onlyHere],
    ["http://2130706433/x", undefined, onlyHere],
    ["http://[::ffff:127.0.0.1]/x", undefined, onlyHere],
    ["http://[64:ff9b::7f00:1]/x", undefined, onlyHere],
    ["http://127.0.0.1/announce/../x", undefined, onlyHere],
    ["http://127.0.0.1/announce/%2e%2e/x", undefined, onlyHere],
    ["http://127.0.0.1/announce/..%2fx", undefined, onlyHere],
    ["http://127.0.0.1/announce%5c..%5cx", undefined, onlyHere],
    ["http://127.0.0.1/announce/..;/x", undefined, onlyHere],
    ["http://nas.lan/x", "127.0.0.1", onlyHere],
    ["http://tracker.example/x", "127.0.0.1", onlyHere],
    ["http://tracker.example/x", "::1", onlyHere],
    ["udp://tracker.example:80", "127.0.0.1", onlyHere],
    ["http://tracker.example/x", "192.168.1.1", onlyAround],
    ["http://tracker.example/x", "fd12::9", onlyAround],
    ["udp://tracker.example:80/", "10.0.0.9", onlyAround]
  ])("does not let %s at %s be asked for anything else", (url, address, why) => {
    assert.strictEqual(whyNot(url, address), why)
  })

  it.each([
    ["0.0.0.0", "0.0.0.0", "0.1.2.3", "::", "::ffff:0.0.0.0"],
    ["link-local", "169.254.1.1", "fe80::1", "64:ff9b::a9fe:101"],
    ["multicast", "239.255.255.250", "ff02::1"],
    ["broadcast", "255.255.255.255"],
    ["a metadata service", "169.254.169.254", "168.63.129.16", "192.0.0.192", "100.100.100.200"],
    ["one in IPv6", "fd00:ec2::254", "fd20:ce::254", "::ffff:169.254.169.254", "2002:a9fe:a9fe::1"]
  ])("is never %s, whatever the path and however it is named", (_, ...addresses) => {
    for (const address of addresses) {
      const host = address.includes(":") ? `[${address}]` : address
      for (const url of [`http://${host}/announce`, `udp://${host}:80/announce`])
        assert.strictEqual(whyNot(url), nowhere)
      for (const name of ["tracker.example", "nas.lan", "localhost"]) {
        assert.strictEqual(whyNot(`http://${name}/announce`, address), nowhere, address)
      }
    }
  })

  it("allows a tracker on this machine to be scraped at its scrape path", () => {
    assert.isUndefined(whyNot("http://127.0.0.1/KEY/scrape.php", undefined, "scrape"))
    assert.match(whyNot("http://127.0.0.1/KEY/x", undefined, "scrape")!, /begins with scrape$/)
    assert.strictEqual(whyNot("http://127.0.0.1/scrape"), onlyHere)
  })
})

describe("Destination of a torrent file that a magnet link names", () => {
  const whyNotFile = (text: string, address?: string) => {
    const url = new URL(text)
    return Destination.whyNotTorrentFile(url, address ?? Destination.hostOf(url))
  }

  it.each([
    ["http://files.example/any?id=1", "9.0.0.1"],
    ["http://192.168.1.5/any/t.torrent", undefined],
    ["http://nas.lan/t.torrent", "192.168.1.5"],
    ["http://127.0.0.1:8080/t.torrent", undefined],
    ["http://localhost/t.TORRENT?key=1", "::1"],
    ["http://files.example/t.torrent", "10.0.0.9"]
  ])("lets %s be fetched", (url, address) => {
    assert.isUndefined(whyNotFile(url, address))
  })

  it.each([
    [
      "http://127.0.0.1/announce",
      undefined,
      /^a torrent file on this machine must have a path that ends in \.torrent$/
    ],
    ["http://localhost/shutdown?x=.torrent", "::1", /on this machine/],
    ["http://localhost/shutdown#.torrent", "::1", /on this machine/],
    ["http://127.0.0.1/x/..%2fshutdown%2f.torrent", undefined, /on this machine/],
    ["http://files.example/any", "127.0.0.1", /on this machine/],
    ["http://files.example/any", "10.0.0.9", /^a torrent file in the local network must have/],
    ["http://192.168.1.1/reboot.cgi", undefined, /^a torrent file in the local network must have/],
    ["http://192.168.1.1/reboot.cgi?x=.torrent", undefined, /in the local network/],
    ["http://nas.lan/any", undefined, /in the local network/],
    ["http://nas.lan/any", "192.168.1.5", /in the local network/],
    ["http://nas.lan/any", "9.0.0.1", /in the local network/],
    ["udp://127.0.0.1/any", undefined, /on this machine/],
    ["http://169.254.169.254/t.torrent", undefined, /^it leads to an address that no torrent file has$/],
    ["http://0.0.0.0/t.torrent", undefined, /no torrent file has/]
  ])("fault 77: does not let %s at %s be fetched", (url, address, why) => {
    assert.match(whyNotFile(url, address) ?? "", why)
  })
})

describe("Destination of a redirect", () => {
  const redirect = (from: Parameters<typeof Destination.whyNotRedirect>[0], text: string, address?: string) => {
    const url = new URL(text)
    return Destination.whyNotRedirect(from, url, address ?? Destination.hostOf(url)) === undefined
  }

  it("leads to no less public place than that of its server", () => {
    const places = ["http://9.0.0.1/", "http://10.0.0.9/", "http://127.0.0.1/", "http://0.0.0.0/"]
    const from = (reach: Parameters<typeof redirect>[0]) => places.map((url) => redirect(reach, url))

    assert.deepStrictEqual(from("public"), [true, false, false, false])
    assert.deepStrictEqual(from("private"), [true, true, false, false])
    assert.deepStrictEqual(from("loopback"), [true, true, true, false])
  })

  it("is judged by the name and by the address", () => {
    assert.isTrue(redirect("public", "http://tracker.example/x", "9.0.0.1"))
    assert.isFalse(redirect("public", "http://tracker.example/x", "10.0.0.9"))
    assert.isFalse(redirect("public", "http://tracker.example/x", "127.0.0.1"))
    assert.isFalse(redirect("public", "http://router/"))
    assert.isFalse(redirect("public", "http://nas.lan/"))
    assert.isFalse(redirect("private", "http://nas.lan/", "127.0.0.1"))
  })
})

describe("fault 90: Destination of a web seed that a torrent names", () => {
  const whyNotSeed = (text: string, address?: string) => {
    const url = new URL(text)
    return Destination.whyNotWebSeed(url, address ?? Destination.hostOf(url))
  }

  it.each([
    ["http://files.example/any?id=1", "9.0.0.1"],
    ["http://192.168.1.5:8000/torrents/a%20b.iso", undefined],
    ["http://nas.lan/a.iso", "192.168.1.5"],
    ["http://127.0.0.1:8080/a.iso", undefined],
    ["http://localhost/folder/a", "::1"]
  ])("lets %s be fetched", (url, address) => {
    assert.isUndefined(whyNotSeed(url, address))
  })

  it.each([
    ["http://127.0.0.1/?shutdown", undefined, /^a web seed on this machine must have a host that shows where it is/],
    ["http://192.168.1.1/reboot.cgi?now=1", undefined, /^a web seed in the local network must have/],
    ["http://127.0.0.1/files/..%2fshutdown", undefined, /on this machine/],
    ["http://127.0.0.1/files/%5c..", undefined, /on this machine/],
    // Its name shows nothing of where it leads.
    ["http://files.example/a.iso", "127.0.0.1", /on this machine/],
    ["http://files.example/a.iso", "10.0.0.9", /in the local network/],
    ["http://nas.lan/a.iso", "127.0.0.1", /on this machine/],
    ["http://169.254.169.254/latest/meta-data", undefined, /no web seed has/],
    ["http://0.0.0.0/a.iso", undefined, /no web seed has/],
    ["http://[fe80::1]/a.iso", undefined, /no web seed has/]
  ])("refuses %s", (url, address, why) => {
    assert.match(whyNotSeed(url, address) ?? "", why)
  })
})
