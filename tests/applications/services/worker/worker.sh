#!/bin/sh
echo "worker in $1 $SHOP_MODE"
