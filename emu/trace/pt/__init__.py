"""Page tables for people: taken from a machine or a file, shown as ranges, trees and pictures, and walked in words."""
