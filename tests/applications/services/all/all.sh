#!/bin/sh
ls "$PREFIX/sbin"
