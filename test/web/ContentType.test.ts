import { assert, describe, it } from "@effect/vitest"
import * as ContentType from "../../src/web/ContentType.ts"

describe("ContentType", () => {
  it.each([
    ["film.mkv", "video/matroska"],
    ["FILM.MP4", "video/mp4"],
    ["list.m3u8", "application/vnd.apple.mpegurl"],
    ["song.flac", "audio/flac"],
    ["song.mp3", "audio/mpeg"],
    ["read me.txt", "text/plain; charset=utf-8"],
    ["subtitles.vtt", "text/vtt; charset=utf-8"],
    ["page.html", "text/html; charset=utf-8"],
    ["image.svg", "image/svg+xml"],
    ["a.tar.gz", "application/gzip"],
    ["mkv", ContentType.unknown],
    ["a.", ContentType.unknown],
    ["a.unheard", ContentType.unknown],
    ["a.constructor", ContentType.unknown],
    ["a.__proto__", ContentType.unknown]
  ])("of %s is %s", (name, type) => {
    assert.strictEqual(ContentType.of(name), type)
  })

  it.each([
    ["page.html", true],
    ["page.xhtml", true],
    ["image.svg", true],
    ["feed.xml", true],
    ["feed.rss", true],
    ["film.mkv", false],
    ["read me.txt", false],
    ["book.pdf", false],
    ["image.png", false]
  ])("of %s may run programs: %s", (name, isActive) => {
    assert.strictEqual(ContentType.isActive(ContentType.of(name)), isActive)
  })
})
