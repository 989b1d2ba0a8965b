# bc: pi to 30 digits
echo 'scale=30; 4*a(1)' | bc -l
